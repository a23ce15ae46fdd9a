//go:build linux

package nfqueue

import (
	"fmt"
	"strings"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Names and priorities of our tables and base chains. The base chains see the
// addresses and ports on the wire. Egress comes after source NAT (priority 100).
// Ingress comes before destination NAT (-100) and connection tracking (-200), as
// if the packets came later, but after the defragmentation that tracking needs
// (-400).
const (
	tableName       = "tidelay"
	egressChain     = "postrouting"
	egressPriority  = nftables.ChainPriority(110)
	ingressChain    = "prerouting"
	ingressPriority = nftables.ChainPriority(-350)
)

// baseChain is the name of the chain that all packets of a direction meet.
func baseChain(direction fault.Direction) string {
	if direction == fault.Ingress {
		return ingressChain
	}
	return egressChain
}

// family is ipv4 or ipv6. Each has a table of its own, because the inet family
// has no dup statement.
type family = nftables.TableFamily

const (
	ipv4 = nftables.TableFamilyIPv4
	ipv6 = nftables.TableFamilyIPv6
	// allFamilies is only for dumps.
	allFamilies = nftables.TableFamilyUnspecified
)

func ourTable(f family) *nftables.Table {
	return &nftables.Table{Name: tableName, Family: f}
}

// isBase reports whether a chain is a base chain, and not that of a fault.
func isBase(name string) bool { return name == egressChain || name == ingressChain }

// ourChain describes a chain of ours, with its hook if it is a base chain.
func ourChain(parent *nftables.Table, name string) *nftables.Chain {
	chain := &nftables.Chain{Name: name, Table: parent}
	if !isBase(name) {
		return chain
	}
	chain.Type = nftables.ChainTypeFilter
	chain.Hooknum, chain.Priority = nftables.ChainHookPostrouting, new(egressPriority)
	if name == ingressChain {
		chain.Hooknum, chain.Priority = nftables.ChainHookPrerouting, new(ingressPriority)
	}
	return chain
}

// isOurChain reports whether a chain of a table with our name can be ours, by
// its name and hook.
func isOurChain(c *nftables.Chain) bool {
	want := ourChain(c.Table, c.Name)
	if want.Hooknum == nil {
		return c.Hooknum == nil && (strings.HasPrefix(c.Name, "egress-") || strings.HasPrefix(c.Name, "ingress-"))
	}
	return c.Type == want.Type && c.Hooknum != nil && *c.Hooknum == *want.Hooknum && c.Priority != nil && *c.Priority == *want.Priority
}

// listChains lists all chains of the pod.
func listChains(conn *nftConn) ([]*nftables.Chain, error) {
	messages, err := conn.dump(unix.NFT_MSG_GETCHAIN, allFamilies, nil)
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", err)
	}
	all := make([]*nftables.Chain, len(messages))
	for i, m := range messages {
		all[i] = parseChainMessage(m)
	}
	return all, nil
}

func parseChainMessage(m nftMessage) *nftables.Chain {
	c := &nftables.Chain{
		Name:  stringAttr(m.attrs, unix.NFTA_CHAIN_NAME),
		Table: &nftables.Table{Name: stringAttr(m.attrs, unix.NFTA_CHAIN_TABLE), Family: m.family},
		Type:  nftables.ChainType(stringAttr(m.attrs, unix.NFTA_CHAIN_TYPE)),
	}
	if hook := findAttr(m.attrs, unix.NFTA_CHAIN_HOOK); hook != nil {
		c.Hooknum = new(nftables.ChainHook(uint32Attr(hook, unix.NFTA_HOOK_HOOKNUM)))
		c.Priority = new(nftables.ChainPriority(int32(uint32Attr(hook, unix.NFTA_HOOK_PRIORITY))))
		c.Policy = new(nftables.ChainPolicy(uint32Attr(m.attrs, unix.NFTA_CHAIN_POLICY)))
	}
	return c
}
