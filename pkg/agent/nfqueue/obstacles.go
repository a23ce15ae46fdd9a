//go:build linux

package nfqueue

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/tidelay/tidelay/pkg/agent/rtnl"
	"github.com/tidelay/tidelay/pkg/fault"
)

// obstacles says in words, for each family, what in the pod can stop a copy that
// its original would pass. Without any, copies travel like their originals.
type obstacles map[family][]string

// findObstacles looks for them: chains of others that see outgoing packets, since
// connection tracking knows no copy and no socket owns one; and gateways that the
// kernel does not find by their address alone.
func findObstacles(families []family) (obstacles, error) {
	found := make(obstacles)
	chains, err := foreignChains(families)
	if err != nil {
		return nil, err
	}
	for _, f := range families {
		legacy, err := iptablesChains(f)
		if err != nil {
			return nil, err
		}
		hidden, err := rtnl.HiddenGateways(f == ipv6)
		if err != nil {
			return nil, err
		}
		all := append(chains[f], legacy...)
		for _, gateway := range hidden {
			all = append(all, fmt.Sprintf("no route that holds for every packet leads to the gateway %s", gateway))
		}
		if len(all) > 0 {
			found[f] = all
		}
	}
	return found, nil
}

// foreignChains names the base chains of others that could stop a copy.
func foreignChains(families []family) (obstacles, error) {
	conn, err := connect()
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.CloseLasting() }()
	chains, err := conn.ListChains()
	if err != nil {
		return nil, fmt.Errorf("list nftables chains: %w", err)
	}
	found := make(obstacles)
	for _, c := range chains {
		if !seesCopies(c) || passesCopies(conn, c) {
			continue
		}
		for _, f := range families {
			if c.Table.Family == f || c.Table.Family == nftables.TableFamilyINet {
				found[f] = append(found[f], fmt.Sprintf("nftables chain %q of table %q can stop a copy", c.Name, c.Table.Name))
			}
		}
	}
	return found, nil
}

// seesCopies reports whether a chain of others sees copies on their way out. NAT
// chains see only packets that connection tracking knows.
func seesCopies(c *nftables.Chain) bool {
	return c.Table.Name != tableName && c.Hooknum != nil && c.Type != nftables.ChainTypeNAT &&
		(*c.Hooknum == *nftables.ChainHookOutput || *c.Hooknum == *nftables.ChainHookPostrouting)
}

// passesCopies reports whether every copy passes a chain: none of its rules that
// a copy can meet does more than count or accept. A policy to drop is for what no
// rule accepts. Rules that can't be read may do anything.
func passesCopies(conn *nftables.Conn, c *nftables.Chain) bool {
	rules, err := conn.GetRules(c.Table, c)
	if err != nil {
		return false
	}
	if len(rules) > 0 && c.Policy != nil && *c.Policy != nftables.ChainPolicyAccept {
		return false
	}
	return !slices.ContainsFunc(rules, func(r *nftables.Rule) bool { return canStopCopy(r.Exprs) })
}

// canStopCopy reports whether a rule can do more to a copy than count and accept.
func canStopCopy(exprs []expr.Any) bool { return !meetsNoCopy(exprs) && !isHarmless(exprs) }

// meetsNoCopy reports whether a rule is only for packets in states of connection
// tracking that a copy is not in, such as `ct state invalid drop`.
func meetsNoCopy(exprs []expr.Any) bool {
	const untracked = 1 << 6 // NF_CT_STATE_UNTRACKED_BIT
	if len(exprs) < 3 {
		return false
	}
	ct, isCt := exprs[0].(*expr.Ct)
	mask, isMask := exprs[1].(*expr.Bitwise)
	cmp, isCmp := exprs[2].(*expr.Cmp)
	return isCt && ct.Key == expr.CtKeySTATE && isMask && len(mask.Mask) == 4 && binary.NativeEndian.Uint32(mask.Mask)&untracked == 0 &&
		isCmp && cmp.Op == expr.CmpOpNeq && len(cmp.Data) == 4 && binary.NativeEndian.Uint32(cmp.Data) == 0
}

// isHarmless reports whether a rule only looks at packets, counts and accepts.
func isHarmless(exprs []expr.Any) bool {
	return !slices.ContainsFunc(exprs, func(e expr.Any) bool {
		switch e := e.(type) {
		case *expr.Counter, *expr.Cmp, *expr.Bitwise, *expr.Range, *expr.Lookup:
			return false
		case *expr.Ct:
			return e.SourceRegister
		case *expr.Payload:
			return e.OperationType == expr.PayloadWrite
		case *expr.Meta:
			return e.SourceRegister
		case *expr.Verdict:
			return e.Kind != expr.VerdictAccept && e.Kind != expr.VerdictReturn
		default:
			return true
		}
	})
}

// Warnings says what the desired faults can't do in this pod as it is now: what
// copies meet on their way, and what that costs. It changes nothing.
func (e *Engine) Warnings(desired []fault.Fault) ([]string, error) {
	if !slices.ContainsFunc(desired, waitsOnEgress) {
		return nil, nil
	}
	e.mu.Lock()
	applied := e.applied
	e.mu.Unlock()
	now, err := findObstacles(e.families)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, f := range e.families {
		before := len(applied.obstacles[f]) > 0
		switch {
		case len(now[f]) > 0 && !before && slices.ContainsFunc(applied.faults, waitsOnEgress):
			all = append(all, fmt.Sprintf("%s: %s since the faults were applied, so that TCP and ping may fail: clear the faults and set them again",
				familyName(f), strings.Join(now[f], "; ")))
		case len(now[f]) > 0:
			all = append(all, fmt.Sprintf("%s: %s, so TCP packets wait themselves and not as copies: one stream gets about 2 Mbit/s at 20ms, and less the longer the delay; "+
				"and what the kernel itself sends (replies to ping, ICMP errors, TCP resets) meets a partition, but no delay, loss or rate",
				familyName(f), strings.Join(now[f], "; ")))
		case before:
			all = append(all, familyName(f)+": what was in the way of copies is gone: clear the faults and set them again, and TCP is fast")
		}
	}
	return all, nil
}

// waitsOnEgress reports whether leaving packets wait under a fault.
func waitsOnEgress(f fault.Fault) bool {
	return f.Match.Direction.Has(fault.Egress) && !f.Impairment.Partition
}
