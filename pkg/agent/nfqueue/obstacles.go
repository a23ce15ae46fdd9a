//go:build linux

package nfqueue

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tidelay/tidelay/pkg/agent/rtnl"
	"github.com/tidelay/tidelay/pkg/fault"
)

// obstacles says in words, for each family, what in the pod can stop a copy that
// its original would pass. Without any, copies travel like their originals.
type obstacles map[family][]string

func (o obstacles) equal(other obstacles) bool { return maps.EqualFunc(o, other, slices.Equal) }

// findObstacles looks for them: chains of others that see outgoing packets, since
// connection tracking knows no copy and no socket owns one; and gateways that the
// kernel does not find by their address alone. What can't be read counts as one,
// since no fault may fail to end for it.
func findObstacles(families []family) obstacles {
	found := make(obstacles)
	chains, err := foreignChains(families)
	for _, f := range families {
		all := chains[f]
		if err != nil {
			all = []string{"what could stop a copy can't be read: " + err.Error()}
		} else if routes, err := hiddenGateways(f); err != nil {
			all = append(all, "where a copy would go can't be read: "+err.Error())
		} else {
			all = append(all, routes...)
		}
		if len(all) > 0 {
			found[f] = all
		}
	}
	return found
}

func hiddenGateways(f family) ([]string, error) {
	gateways, err := rtnl.HiddenGateways(f == ipv6)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, gateway := range gateways {
		all = append(all, fmt.Sprintf("no route that holds for every packet leads to the gateway %s", gateway))
	}
	return all, nil
}

// Warnings says what the desired faults can't do in this pod, and what that costs.
// It changes nothing.
func (e *Engine) Warnings(desired []fault.Fault) []string {
	if !slices.ContainsFunc(desired, waitsOnEgress) {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.obstacles()
	var all []string
	for _, f := range e.families {
		if len(now[f]) > 0 {
			all = append(all, fmt.Sprintf("%s: %s, so TCP packets wait themselves and not as copies: one stream gets about 2 Mbit/s at 20ms, and less the longer the delay; "+
				"and what the kernel itself sends (replies to ping, ICMP errors, TCP resets) meets a partition, but no delay, loss or rate",
				familyName(f), strings.Join(now[f], "; ")))
		}
	}
	return all
}

// waitsOnEgress reports whether leaving packets wait under a fault.
func waitsOnEgress(f fault.Fault) bool {
	return f.Match.Direction.Has(fault.Egress) && !f.Impairment.Partition
}
