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

// table is the rules of one family by the name of their chain.
type table map[string][]rule

// tables is our table of each family. A family that has none is not in the map.
type tables map[family]table

// equal reports whether two tables have the same rules, by equalRules.
func (t tables) equal(u tables) bool {
	return maps.EqualFunc(t, u, func(a, b table) bool { return maps.EqualFunc(a, b, equalRules) })
}

func (t tables) ruleCount() int {
	n := 0
	for _, chains := range t {
		for _, rules := range chains {
			n += len(rules)
		}
	}
	return n
}

// counters returns how much traffic a chain has counted, of both families.
func (t tables) counters(chain string) (packets, bytes uint64) {
	for _, chains := range t {
		for _, r := range chains[chain] {
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

// readTables reads the tables of our name from the kernel. The error wraps
// fault.ErrForeign if a table, chain or rule in there is not ours.
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
	for _, t := range all {
		if t.Name != tableName || t.Family != ipv4 && t.Family != ipv6 {
			continue
		}
		if found[t.Family], err = readTable(conn, t); err != nil {
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

// write replaces the found tables in the kernel by these, in one transaction. A
// chain that is the same in both is not touched, so it goes on counting. The base
// chains stay: without them packets would pass, and the kernel would drop what
// waits in any queue (nf_queue_nf_hook_drop in net/netfilter/nf_queue.c).
func (t tables) write(found tables) error {
	return transaction("write nftables rules", func(conn *nftables.Conn) {
		for _, f := range slices.Sorted(maps.Keys(t)) {
			t[f].write(conn, f, found[f])
		}
	})
}

// write adds to a transaction what makes this table out of the found one.
func (t table) write(conn *nftables.Conn, f family, found table) {
	parent := conn.AddTable(ourTable(f))
	for _, name := range slices.SortedFunc(maps.Keys(t), faultChainsFirst) {
		if rules, ok := found[name]; ok && equalRules(rules, t[name]) {
			continue
		}
		chain := conn.AddChain(ourChain(parent, name))
		conn.FlushChain(chain)
		for _, r := range t[name] {
			conn.AddRule(&nftables.Rule{Table: parent, Chain: chain, Exprs: r.exprs, UserData: formatComment(r.comment)})
		}
	}
	for name := range found {
		if _, ok := t[name]; !ok && !isBase(name) {
			conn.FlushChain(ourChain(parent, name))
			conn.DelChain(ourChain(parent, name))
		}
	}
}

// faultChainsFirst orders the names of chains: those of faults come before the
// base chains, whose rules go to them.
func faultChainsFirst(a, b string) int {
	if isBase(a) == isBase(b) {
		return strings.Compare(a, b)
	}
	if isBase(b) {
		return -1
	}
	return 1
}

// withoutRules returns the tables with empty base chains and nothing else. They
// let every packet pass, and no queue loses a packet.
func (t tables) withoutRules() tables {
	empty := make(tables)
	for f, chains := range t {
		empty[f] = make(table)
		for name := range chains {
			if isBase(name) {
				empty[f][name] = nil
			}
		}
	}
	return empty
}

// remove deletes the tables in one transaction. The kernel drops what is in any
// queue, so ours must be empty.
func (t tables) remove() error {
	return transaction("delete nftables tables", func(conn *nftables.Conn) {
		for f := range t {
			conn.DelTable(ourTable(f))
		}
	})
}

// transaction sends the requests that fill adds to a connection. The kernel
// carries out all of them or none.
func transaction(what string, fill func(conn *nftables.Conn)) error {
	conn, err := connect()
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseLasting() }()
	fill(conn)
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// answerTimeout is how long a connection to nftables lasts. The kernel answers at
// once, but sometimes the library waits for more answers than there are.
const answerTimeout = 5 * time.Second

// transactionBuffer is in bytes. It has room for the transaction of the largest
// set of faults, and for the answers, one for each rule, which come all at once.
const transactionBuffer = 16 << 20

// connect opens a connection to nftables. Close it with CloseLasting.
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
