package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidelay/tidelay/pkg/networkfault/selector"
	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

const busiest = "busiest"

// rolesOf returns what pods are now: "leader", "follower", "owner", "store 4, busiest". unknown
// has a sentence for each component of which that is not known.
func rolesOf(c *look.Cluster) (all map[string]string, unknown []string) {
	all = map[string]string{}
	if c.Object == nil {
		return all, nil
	}
	roles := selector.RolesOf(&c.Object.Status)
	for id, store := range roles.Stores {
		all[store.Pod] = storeWords(id, store)
	}
	var pods []selector.Pod
	for _, p := range c.Pods {
		pods = append(pods, selector.Pod{Name: p.Name, Component: p.Facts.Component, Zone: p.Facts.Zone})
	}
	cluster := selector.Cluster{Pods: pods, Roles: roles}
	for text, word := range map[string]string{"pd(leader)": "leader", "pd(follower)": "follower", "ticdc(owner)": "owner", "tikv(busiest)": busiest} {
		some, err := selector.Parse(text)
		if err != nil {
			continue
		}
		found, err := cluster.Select(some, 0, selector.Selection{})
		if err != nil {
			continue // nobody is known to be
		}
		for _, p := range found.Pods {
			if word == busiest && !leads(roles, p.Pod.Name) {
				continue // then it is only the first by name
			}
			all[p.Pod.Name] = strings.TrimPrefix(all[p.Pod.Name]+", "+word, ", ")
		}
	}
	for _, component := range tidbcluster.Components() {
		hasPods := slices.ContainsFunc(pods, func(p selector.Pod) bool { return p.Component == component })
		if hasPods && roles.Unsynced[component] {
			unknown = append(unknown, fmt.Sprintf("TiDB Operator could not ask %s: its roles are older, or not known", component))
		}
	}
	return all, unknown
}

// leads reports whether the store of a pod leads a region.
func leads(roles selector.Roles, pod string) bool {
	for _, store := range roles.Stores {
		if store.Pod == pod && store.Leaders > 0 {
			return true
		}
	}
	return false
}

// storeWords says which store one is.
func storeWords(id uint64, store selector.StoreInfo) string {
	text := fmt.Sprintf("store %d", id)
	if store.Component == tidbcluster.TiKV {
		text += ", " + tidbcluster.Plural(int(store.Leaders), "leader")
	}
	if !store.Up {
		text += ", not up"
	}
	return text
}
