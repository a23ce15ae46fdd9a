//go:build linux

package nfqueue

import (
	"strings"

	"github.com/google/nftables"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Where our rules are. The chains come after source NAT (priority 100): they
// see the addresses that are on the wire.
const (
	tableName     = "tidelay"
	egressChain   = "postrouting"
	ingressChain  = "input"
	chainPriority = nftables.ChainPriority(110)
)

// baseChain is the chain that all packets of a direction meet.
func baseChain(direction fault.Direction) string {
	if direction == fault.Ingress {
		return ingressChain
	}
	return egressChain
}

// family is IPv4 or IPv6. Each has its own table, because the inet family has
// no dup statement.
type family = nftables.TableFamily

const (
	ipv4 = nftables.TableFamilyIPv4
	ipv6 = nftables.TableFamilyIPv6
)

func ourTable(f family) *nftables.Table {
	return &nftables.Table{Name: tableName, Family: f}
}

func isBase(name string) bool { return name == egressChain || name == ingressChain }

func ourChain(at *nftables.Table, name string) *nftables.Chain {
	chain := &nftables.Chain{Name: name, Table: at}
	if !isBase(name) {
		return chain
	}
	chain.Type, chain.Priority = nftables.ChainTypeFilter, new(chainPriority)
	chain.Hooknum = nftables.ChainHookPostrouting
	if name == ingressChain {
		chain.Hooknum = nftables.ChainHookInput
	}
	return chain
}

func isOurChain(c *nftables.Chain) bool {
	want := ourChain(c.Table, c.Name)
	if want.Hooknum == nil {
		return c.Hooknum == nil && (strings.HasPrefix(c.Name, "egress-") || strings.HasPrefix(c.Name, "ingress-"))
	}
	return c.Type == want.Type && c.Hooknum != nil && *c.Hooknum == *want.Hooknum && c.Priority != nil && *c.Priority == *want.Priority
}
