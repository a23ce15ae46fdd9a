//go:build linux

package nfqueue

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// foreignChains names the base chains of others that could stop a copy: those of
// nftables, and those of iptables' own tables.
func foreignChains(families []family) (obstacles, error) {
	conn, err := dialNFT()
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.close() }()
	chains, err := listChains(conn)
	if err != nil {
		return nil, err
	}
	found := make(obstacles)
	for _, c := range chains {
		if !seesCopies(c) || passesCopies(c) {
			continue
		}
		for _, f := range families {
			if c.Table.Family == f || c.Table.Family == nftables.TableFamilyINet {
				found[f] = append(found[f], fmt.Sprintf("nftables chain %q of table %q can stop a copy", c.Name, c.Table.Name))
			}
		}
	}
	for _, f := range families {
		legacy, err := iptablesChains(f)
		if err != nil {
			return nil, err
		}
		found[f] = append(found[f], legacy...)
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
func passesCopies(c *nftables.Chain) bool {
	conn, err := connect()
	if err != nil {
		return false
	}
	defer func() { _ = conn.CloseLasting() }()
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
