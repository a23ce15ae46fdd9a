package selector

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

var (
	// ErrUnknownRole reports that nobody can say now which pod has a role. It may be
	// known later.
	ErrUnknownRole = errors.New("not known now")
	// ErrNobody reports that a selector selects no pod of the cluster as it is.
	ErrNobody = errors.New("selects nobody")
)

// Picked is a pod and the selector that selects it.
type Picked struct {
	Selector Selector
	Pod      Pod
}

// Selection is what a list of selectors selects.
type Selection struct {
	// Pods has each pod once, by name, with the first selector that selects it.
	Pods []Picked
	// CIDRs are the ranges outside the cluster, sorted, each once.
	CIDRs []netip.Prefix
}

// Has reports whether a pod is selected.
func (s Selection) Has(pod string) bool {
	return slices.ContainsFunc(s.Pods, func(p Picked) bool { return p.Pod.Name == pod })
}

// Select returns what a list of selectors selects in a cluster. The seed decides what
// random, minority, majority and half are: the same pods for the same seed, whatever
// other pods there are besides. from is what Others leaves out. Discovery is selected
// only by its own name.
//
// The error wraps ErrUnknownRole or ErrNobody and names the selector. With it, nothing
// is selected.
func (c Cluster) Select(all []Selector, seed int64, from Selection) (Selection, error) {
	var selection Selection
	for _, s := range all {
		if s.CIDR.IsValid() {
			selection.CIDRs = append(selection.CIDRs, s.CIDR)
			continue
		}
		pods, err := c.pick(s, seed, from)
		if err == nil && len(pods) == 0 {
			err = fmt.Errorf("%w: %s", ErrNobody, c.describe(s))
		}
		if err != nil {
			return Selection{}, fmt.Errorf("selector %s: %w", s, err)
		}
		for _, pod := range pods {
			if !selection.Has(pod.Name) {
				selection.Pods = append(selection.Pods, Picked{s, pod})
			}
		}
	}
	slices.SortFunc(selection.Pods, func(a, b Picked) int { return cmp.Compare(a.Pod.Name, b.Pod.Name) })
	slices.SortFunc(selection.CIDRs, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	selection.CIDRs = slices.Compact(selection.CIDRs)
	return selection, nil
}

// describe says what a selector that selects nobody had to choose from.
func (c Cluster) describe(s Selector) string {
	if s.Others {
		return "every pod that it could mean is on the side from; want all for both sides"
	}
	if s.Component == "" {
		return fmt.Sprintf("the cluster has %s that it could mean", tidbcluster.Plural(len(c.pods(func(p Pod) bool { return p.isIn(s.Zone) && p.Component != tidbcluster.Discovery })), "pod"))
	}
	text := fmt.Sprintf("the cluster has %s of %s", tidbcluster.Plural(len(c.component(s.Component, "")), "pod"), s.Component)
	if s.Zone != "" {
		text += fmt.Sprintf(", %d of them in zone %s", len(c.component(s.Component, s.Zone)), s.Zone)
	}
	return text
}

// pick returns the pods that a selector selects, by name.
func (c Cluster) pick(s Selector, seed int64, from Selection) ([]Pod, error) {
	switch {
	case s.Pod != "":
		return c.pods(func(p Pod) bool { return p.Name == s.Pod }), nil
	case s.All, s.Others:
		return c.pods(func(p Pod) bool {
			return p.isIn(s.Zone) && p.Component != tidbcluster.Discovery && (s.All || !from.Has(p.Name))
		}), nil
	}
	candidates := c.component(s.Component, s.Zone)
	named := func(condition func(Pod) bool) []Pod {
		return slices.DeleteFunc(candidates, func(p Pod) bool { return !condition(p) })
	}
	half := len(candidates) / 2
	minority := max(len(candidates)-1, 0) / 2
	switch s.Pick.How {
	case "":
		return candidates, nil
	case Ordinal:
		return named(func(p Pod) bool { n, ok := p.ordinal(); return ok && n == s.Pick.Number }), nil
	case Random:
		n := max(s.Pick.Number, 1)
		if uint64(len(candidates)) < n {
			return nil, nil // and not fewer than were asked for
		}
		return shuffled(candidates, seed, 0, int(n)), nil //nolint:gosec // Parse bounds it
	case Half:
		return shuffled(candidates, seed, 0, half), nil
	case Minority:
		return shuffled(candidates, seed, 0, minority), nil
	case Majority:
		return shuffled(candidates, seed, minority, len(candidates)), nil
	default: // a role
		has, err := c.role(s)
		if err != nil {
			return nil, err
		}
		return named(func(p Pod) bool { return has(p.Name) }), nil
	}
}

// role returns which pods have the role of a selector.
func (c Cluster) role(s Selector) (has func(pod string) bool, err error) {
	if c.Roles.Unsynced[s.Component] {
		return nil, fmt.Errorf("%w: TiDB Operator could not ask %s lately (status.%[2]s.synced is false)", ErrUnknownRole, s.Component)
	}
	if len(c.component(s.Component, "")) == 0 {
		return nil, fmt.Errorf("%w: the cluster has no pods of %s", ErrNobody, s.Component)
	}
	var pod string
	switch s.Pick.How {
	default: // Leader and Follower
		pod = c.Roles.Leader
	case Owner:
		pod = c.Roles.Owner
	case Busiest:
		pod = c.Roles.busiest(c.component(s.Component, s.Zone))
	case Store:
		store, ok := c.Roles.Stores[s.Pick.Number]
		if !ok || store.Component != s.Component {
			return nil, fmt.Errorf("%w: no store of %s has the ID %d", ErrNobody, s.Component, s.Pick.Number)
		}
		pod = store.Pod
	}
	if pod == "" {
		return nil, fmt.Errorf("%w: the status of the TidbCluster names none", ErrUnknownRole)
	}
	if s.Pick.How == Follower {
		return func(name string) bool { return name != pod }, nil
	}
	return func(name string) bool { return name == pod }, nil
}

// busiest returns that of some pods whose store leads the most regions, the first by
// name of several; "" if none has a store that is up.
func (r Roles) busiest(pods []Pod) string {
	leaders := map[string]int32{}
	for _, s := range r.Stores {
		if s.Up {
			leaders[s.Pod] = s.Leaders
		}
	}
	pod, most := "", int32(-1)
	for _, p := range pods {
		if n, ok := leaders[p.Name]; ok && n > most {
			pod, most = p.Name, n
		}
	}
	return pod
}

// shuffled returns a part of some pods, from one place to another in an order that the
// seed decides. A pod that comes or goes does not change the order of the others.
func shuffled(pods []Pod, seed int64, from, to int) []Pod {
	key := func(p Pod) []byte {
		sum := sha256.Sum256([]byte(strconv.FormatInt(seed, 10) + "/" + p.Name))
		return sum[:]
	}
	ordered := slices.Clone(pods)
	slices.SortFunc(ordered, func(a, b Pod) int { return cmp.Or(bytes.Compare(key(a), key(b)), cmp.Compare(a.Name, b.Name)) })
	return ordered[min(from, len(ordered)):min(to, len(ordered))]
}
