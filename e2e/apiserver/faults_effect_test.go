//go:build apiserver

package apiserver

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/fault"
)

// effects says what agents do to packets, "tikv-0>pd-1 25ms" or "tikv-0>pd-1 cut", from
// pod to pod, without the name of the TidbCluster.
type effects map[string]string

// effects reads what the agents do now.
func (d *database) effects() effects {
	d.t.Helper()
	all := effects{}
	for from := range d.agents {
		for to, addr := range d.addrs {
			if e := d.onPacket(from, fault.Packet{Peer: addr, Protocol: "tcp", Local: 40000, Remote: 2379}); to != from && e != "" {
				all[d.short(from)+">"+d.short(to)] = e
			}
		}
	}
	return all
}

func (d *database) short(pod string) string { return strings.TrimPrefix(pod, d.name+"-") }

// onPacket says what the agent of a pod does to a packet that leaves it.
func (d *database) onPacket(from string, p fault.Packet) string {
	d.t.Helper()
	faults, err := fault.ParseSet(d.agents[from].Faults(), fault.Limits{Stored: true})
	must(d.t, err)
	switch f := fault.FaultFor(faults, fault.Egress, "eth0", p); {
	case f == nil:
		return ""
	case f.Impairment.Partition:
		return "cut"
	default:
		return f.Impairment.Delay.String()
	}
}

// between returns the same effect for all packets from pods to others and back. Pods are
// named "tikv" for all of a component, or "tikv-0".
func (d *database) between(from, to, effect string) effects {
	d.t.Helper()
	all := effects{}
	for _, a := range d.named(from) {
		for _, b := range d.named(to) {
			if a != b {
				all[a+">"+b], all[b+">"+a] = effect, effect
			}
		}
	}
	return all
}

func (d *database) named(prefix string) []string {
	d.t.Helper()
	var all []string
	for _, p := range size().Pods(d.name) {
		if short := d.short(p.Name); strings.HasPrefix(short, prefix) {
			all = append(all, short)
		}
	}
	if len(all) == 0 {
		d.t.Fatalf("no pod %s", prefix)
	}
	return all
}

// and adds effects to others.
func (e effects) and(more ...effects) effects {
	all := maps.Clone(e)
	for _, m := range more {
		maps.Copy(all, m)
	}
	return all
}

// wantEffects waits until the agents do this and nothing else.
func (d *database) wantEffects(want effects) {
	d.t.Helper()
	d.eventually(func() error {
		if diff := cmp.Diff(want, d.effects()); diff != "" {
			return fmt.Errorf("agents do something else (-want +got):\n%s", diff)
		}
		return nil
	})
}

// wantLeases checks that every fault at the agents is the controller's and ends by itself
// after 5 minutes at most.
func (d *database) wantLeases() {
	d.t.Helper()
	for pod, a := range d.agents {
		for _, f := range a.Faults() {
			ends, err := time.Parse(time.RFC3339Nano, f.ExpiresAt)
			if left := time.Until(ends); err != nil || left > 5*time.Minute || f.Owner != controllerName {
				d.t.Errorf("the agent of %s has fault %s of %q for %s; %v", pod, f.Name, f.Owner, left, err)
			}
		}
	}
}

// empties counts how often each agent was told to hold nothing.
func (d *database) empties() map[string]int {
	all := map[string]int{}
	for pod, a := range d.agents {
		all[pod] = a.Counts().Empty
	}
	return all
}

// holders are the agents that hold any fault, by pod.
func (d *database) holders() []string {
	var all []string
	for pod, a := range d.agents {
		if len(a.Faults()) > 0 {
			all = append(all, pod)
		}
	}
	slices.Sort(all)
	return all
}
