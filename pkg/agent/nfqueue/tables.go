//go:build linux

package nfqueue

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"

	"github.com/tidelay/tidelay/pkg/fault"
)

// table is the chains of one family, by name.
type table map[string][]rule

// tables is what our tables hold; a family without a table is absent.
type tables map[family]table

// holds reports whether what was read from the kernel is what was asked for.
func (t tables) holds(asked tables) bool {
	return maps.EqualFunc(t, asked, func(a, b table) bool { return maps.EqualFunc(a, b, equalRules) })
}

// rules counts all rules.
func (t tables) rules() int {
	n := 0
	for _, one := range t {
		for _, rules := range one {
			n += len(rules)
		}
	}
	return n
}

// counters returns how much traffic met a chain, of both families.
func (t tables) counters(chain string) (packets, bytes uint64) {
	for _, one := range t {
		for _, r := range one[chain] {
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

// readTables returns what the kernel has under our name. The error wraps
// fault.ErrForeign if any of that is not ours.
func readTables() (tables, error) {
	conn, err := connect()
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.CloseLasting() }()
	all, err := conn.ListTables()
	if err != nil {
		return nil, fmt.Errorf("list nftables tables: %w", err)
	}
	found := make(tables)
	for _, one := range all {
		if one.Name != tableName || one.Family != ipv4 && one.Family != ipv6 {
			continue
		}
		if found[one.Family], err = readTable(conn, one); err != nil {
			return nil, fmt.Errorf("read nftables table %q: %w", tableName, err)
		}
	}
	return found, nil
}

func readTable(conn *nftables.Conn, from *nftables.Table) (table, error) {
	chains, err := conn.ListChainsOfTableFamily(from.Family)
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", err)
	}
	found := make(table)
	for _, chain := range chains {
		if chain.Table.Name != tableName {
			continue
		}
		if !isOurChain(chain) {
			return nil, fmt.Errorf("chain %q %w", chain.Name, fault.ErrForeign)
		}
		listed, err := conn.GetRules(from, chain)
		if err != nil {
			return nil, fmt.Errorf("list rules: %w", err)
		}
		rules := make([]rule, len(listed))
		for i, r := range listed {
			comment, ok := parseComment(r.UserData)
			if !ok {
				return nil, fmt.Errorf("rule with handle %d of chain %q %w", r.Handle, chain.Name, fault.ErrForeign)
			}
			rules[i] = rule{comment: comment, exprs: r.Exprs}
		}
		found[chain.Name] = rules
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("a table without chains %w", fault.ErrForeign)
	}
	return found, nil
}

// write makes the kernel hold these tables instead of what was read, in one
// transaction. A chain that is as it should be is not touched and goes on
// counting, and the chains that packets come by stay in place: no packet slips
// by, and none in a queue is lost (nf_queue_nf_hook_drop).
func (t tables) write(held tables) error {
	conn, err := connect()
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseLasting() }()
	for _, f := range slices.Sorted(maps.Keys(t)) {
		at := conn.AddTable(ourTable(f))
		asked, now := t[f], held[f]
		names := slices.SortedFunc(maps.Keys(asked), chainsBeforeTheirUse)
		for _, name := range names {
			if rules, there := now[name]; there && equalRules(rules, asked[name]) {
				continue
			}
			chain := conn.AddChain(ourChain(at, name))
			conn.FlushChain(chain)
			for _, r := range asked[name] {
				conn.AddRule(&nftables.Rule{Table: at, Chain: chain, Exprs: r.exprs, UserData: formatComment(r.comment)})
			}
		}
		for name := range now {
			if _, wanted := asked[name]; !wanted && !isBase(name) {
				conn.FlushChain(ourChain(at, name))
				conn.DelChain(ourChain(at, name))
			}
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("write nftables rules: %w", err)
	}
	return nil
}

// chainsBeforeTheirUse orders the chains of faults before those that go to
// them.
func chainsBeforeTheirUse(a, b string) int {
	if isBase(a) == isBase(b) {
		return strings.Compare(a, b)
	}
	if isBase(b) {
		return -1
	}
	return 1
}

// idle is the tables without a rule: the chains that packets come by stay.
// Removing one makes the kernel drop what is in any queue, so that must wait
// until ours are empty.
func (t tables) idle() tables {
	empty := make(tables)
	for f, one := range t {
		empty[f] = make(table)
		for name := range one {
			if isBase(name) {
				empty[f][name] = nil
			}
		}
	}
	return empty
}

// remove deletes the tables, in one transaction.
func (t tables) remove() error {
	conn, err := connect()
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseLasting() }()
	for f := range t {
		conn.DelTable(ourTable(f))
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("delete nftables tables: %w", err)
	}
	return nil
}

// answerTimeout bounds every exchange with nftables. The kernel answers at
// once, but not always as often as the library waits for.
const answerTimeout = 5 * time.Second

// transactionBuffer has room for a transaction of the largest set of faults,
// and for the kernel's answers, one to each rule, which all come at once.
const transactionBuffer = 16 << 20

// connect opens a connection for several exchanges, which ends with
// CloseLasting.
func connect() (*nftables.Conn, error) {
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
		return errors.Join(
			c.SetDeadline(time.Now().Add(answerTimeout)),
			c.SetReadBuffer(transactionBuffer),
			c.SetWriteBuffer(transactionBuffer),
		)
	}))
	if err != nil {
		return nil, fmt.Errorf("connect to nftables: %w", err)
	}
	return conn, nil
}
