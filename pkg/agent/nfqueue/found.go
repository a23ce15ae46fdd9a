//go:build linux

package nfqueue

import (
	"fmt"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/fault"
)

// readTables reads the tables of our name from the kernel. The error wraps
// fault.ErrForeign if a table, chain or rule in there is not ours.
func readTables(conn *nftConn) (tables, error) {
	found := make(tables)
	dormant, err := found.readParents(conn)
	if err != nil || len(found) == 0 {
		return found, err
	}
	if err := found.readChains(conn); err != nil {
		return nil, err
	}
	for f, chains := range found {
		if len(chains) == 0 {
			return nil, fmt.Errorf("a table without chains %w", fault.ErrForeign)
		}
		if err := chains.readRules(conn, f); err != nil {
			return nil, err
		}
		if dormant[f] {
			chains.spoil(egressChain, "dormant table")
		}
	}
	return found, nil
}

// readParents adds the tables of our name, without chains. It returns those that
// are dormant: their rules have no effect (NFT_TABLE_F_DORMANT).
func (t tables) readParents(conn *nftConn) (dormant map[family]bool, err error) {
	all, err := conn.dump(unix.NFT_MSG_GETTABLE, allFamilies, nil)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	dormant = make(map[family]bool)
	for _, m := range all {
		if stringAttr(m.attrs, unix.NFTA_TABLE_NAME) == tableName && (m.family == ipv4 || m.family == ipv6) {
			t[m.family] = make(table)
			dormant[m.family] = uint32Attr(m.attrs, unix.NFTA_TABLE_FLAGS)&unix.NFT_TABLE_F_DORMANT != 0
		}
	}
	return dormant, nil
}

// readChains adds the chains of the tables, without rules.
func (t tables) readChains(conn *nftConn) error {
	chains, err := listChains(conn)
	if err != nil {
		return err
	}
	for _, c := range chains {
		found, ours := t[c.Table.Family]
		switch {
		case !ours || c.Table.Name != tableName:
		case !isOurChain(c):
			return fmt.Errorf("chain %q %w", c.Name, fault.ErrForeign)
		default:
			found[c.Name] = nil
			if c.Policy != nil && *c.Policy != nftables.ChainPolicyAccept {
				found.spoil(c.Name, "policy")
			}
		}
	}
	return nil
}

// spoil adds to a chain what is no rule and not as we made it. So the chain is not
// what is wanted, and is written anew.
func (t table) spoil(chain, what string) {
	t[chain] = append(t[chain], encodedRule{comment: what})
}

// isSpoiled reports whether spoil was called for a chain with these rules.
func isSpoiled(rules []encodedRule) bool {
	return slices.ContainsFunc(rules, func(r encodedRule) bool { return r.handle == nil })
}

// listRules lists the rules of our table of a family.
func listRules(conn *nftConn, f family) ([]nftMessage, error) {
	rules, err := conn.dump(unix.NFT_MSG_GETRULE, f, appendString(nil, unix.NFTA_RULE_TABLE, tableName))
	if err != nil {
		return nil, fmt.Errorf("list rules: %w", err)
	}
	return rules, nil
}

// readRules adds the rules of a family.
func (t table) readRules(conn *nftConn, f family) error {
	rules, err := listRules(conn, f)
	if err != nil {
		return err
	}
	for _, m := range rules {
		chain, rule, ok := parseRule(m)
		if !ok {
			return fmt.Errorf("rule with handle %d of chain %q %w", uint64Attr(m.attrs, unix.NFTA_RULE_HANDLE), chain, fault.ErrForeign)
		}
		t[chain] = append(t[chain], rule)
	}
	return nil
}

// parseRule returns a rule and its chain, and whether the rule is ours.
func parseRule(m nftMessage) (chain string, r encodedRule, ours bool) {
	r = encodedRule{content: findAttr(m.attrs, unix.NFTA_RULE_EXPRESSIONS), handle: findAttr(m.attrs, unix.NFTA_RULE_HANDLE)}
	r.comment, ours = parseComment(findAttr(m.attrs, unix.NFTA_RULE_USERDATA))
	return stringAttr(m.attrs, unix.NFTA_RULE_CHAIN), r, ours
}
