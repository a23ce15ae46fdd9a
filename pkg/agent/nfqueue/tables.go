//go:build linux

package nfqueue

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"

	"github.com/tidelay/tidelay/pkg/agent/fault"
)

// Where our rules are. The chain comes after source NAT (priority 100): it
// sees the addresses that are on the wire.
const (
	tableName     = "tidelay"
	chainName     = "postrouting"
	chainPriority = nftables.ChainPriority(110)
)

// family is IPv4 or IPv6. Each has its own table, because the inet family has
// no dup statement.
type family = nftables.TableFamily

const (
	ipv4 = nftables.TableFamilyIPv4
	ipv6 = nftables.TableFamilyIPv6
)

// tables is what our tables hold, with an empty chain for one that has been
// emptied; a family without a table is absent.
type tables map[family][]rule

// fault returns the fault that the tables put in force, zero if none.
func (t tables) fault() fault.Fault {
	for _, f := range []family{ipv4, ipv6} {
		if rules := t[f]; len(rules) > 0 {
			held, _ := parseFault(rules[len(rules)-1].comment) // readTable has tried
			return held
		}
	}
	return fault.Fault{}
}

// counters returns how much traffic met the fault.
func (t tables) counters() (packets, bytes uint64) {
	for _, rules := range t {
		for _, r := range rules {
			for _, e := range r.exprs {
				if c, ok := e.(*expr.Counter); ok {
					packets += c.Packets
					bytes += c.Bytes
				}
			}
		}
	}
	return packets, bytes
}

// holds reports whether what was read from the kernel is what was asked for.
func (t tables) holds(asked tables) bool {
	return maps.EqualFunc(t, asked, equalRules)
}

// readTables returns what the kernel has under our name. The error wraps
// fault.ErrForeign if any of that is not ours.
func readTables() (tables, error) {
	conn, err := connect()
	if err != nil {
		return nil, err
	}
	all, err := conn.ListTables()
	if err != nil {
		return nil, fmt.Errorf("list nftables tables: %w", err)
	}
	found := make(tables)
	for _, table := range all {
		if table.Name != tableName || table.Family != ipv4 && table.Family != ipv6 {
			continue
		}
		if found[table.Family], err = readTable(conn, table); err != nil {
			return nil, fmt.Errorf("read nftables table %q: %w", tableName, err)
		}
	}
	return found, nil
}

func readTable(conn *nftables.Conn, table *nftables.Table) ([]rule, error) {
	chains, err := conn.ListChainsOfTableFamily(table.Family)
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", err)
	}
	chains = slices.DeleteFunc(chains, func(c *nftables.Chain) bool { return c.Table.Name != tableName })
	if len(chains) != 1 || !isOurChain(chains[0]) {
		return nil, fmt.Errorf("chains %w", fault.ErrForeign)
	}
	listed, err := conn.GetRules(table, chains[0])
	if err != nil {
		return nil, fmt.Errorf("list rules: %w", err)
	}
	rules := make([]rule, len(listed))
	for i, r := range listed {
		comment, ok := parseComment(r.UserData)
		if !ok {
			return nil, fmt.Errorf("rule with handle %d %w", r.Handle, fault.ErrForeign)
		}
		rules[i] = rule{comment: comment, exprs: r.Exprs}
	}
	if len(rules) > 0 {
		if _, err := parseFault(rules[len(rules)-1].comment); err != nil {
			return nil, fmt.Errorf("%w: %w", err, fault.ErrForeign)
		}
	}
	return rules, nil
}

// write makes the kernel hold exactly these tables, in one transaction. A
// chain that is there already stays in place, so no packet slips by.
func (t tables) write() error {
	conn, err := connect()
	if err != nil {
		return err
	}
	for f, rules := range t {
		chain := conn.AddChain(ourChain(conn.AddTable(ourTable(f))))
		conn.FlushChain(chain)
		for _, r := range rules {
			conn.AddRule(&nftables.Rule{Table: chain.Table, Chain: chain, Exprs: r.exprs, UserData: formatComment(r.comment)})
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("write nftables rules: %w", err)
	}
	return nil
}

// flush removes the rules and leaves the chains. Removing a chain makes the
// kernel drop what is in any queue (nf_queue_nf_hook_drop), so that must wait
// until ours is empty.
func (t tables) flush() error {
	empty := make(tables)
	for f := range t {
		empty[f] = nil
	}
	return empty.write()
}

// remove deletes the tables, in one transaction.
func (t tables) remove() error {
	conn, err := connect()
	if err != nil {
		return err
	}
	for f := range t {
		conn.DelTable(ourTable(f))
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("delete nftables tables: %w", err)
	}
	return nil
}

func ourTable(f family) *nftables.Table {
	return &nftables.Table{Name: tableName, Family: f}
}

func ourChain(table *nftables.Table) *nftables.Chain {
	return &nftables.Chain{
		Name:     chainName,
		Table:    table,
		Type:     nftables.ChainTypeFilter,
		Hooknum:  nftables.ChainHookPostrouting,
		Priority: new(chainPriority),
	}
}

func isOurChain(c *nftables.Chain) bool {
	return c.Name == chainName && c.Type == nftables.ChainTypeFilter &&
		c.Hooknum != nil && *c.Hooknum == *nftables.ChainHookPostrouting &&
		c.Priority != nil && *c.Priority == chainPriority
}

// answerTimeout bounds every exchange with nftables. The kernel answers at
// once, but not always as often as the library waits for.
const answerTimeout = 5 * time.Second

func connect() (*nftables.Conn, error) {
	conn, err := nftables.New(nftables.WithSockOptions(func(c *netlink.Conn) error {
		return c.SetDeadline(time.Now().Add(answerTimeout))
	}))
	if err != nil {
		return nil, fmt.Errorf("connect to nftables: %w", err)
	}
	return conn, nil
}
