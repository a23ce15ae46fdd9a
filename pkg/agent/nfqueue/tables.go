//go:build linux

package nfqueue

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/fault"
)

// table is the rules of one family by the name of their chain.
type table map[string][]encodedRule

// encodedRule is a rule as the kernel has it.
type encodedRule struct {
	comment string
	content content
}

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
			p, b := r.content.counted()
			packets, bytes = packets+p, bytes+b
		}
	}
	return packets, bytes
}

// readTables reads the tables of our name from the kernel. The error wraps
// fault.ErrForeign if a table, chain or rule in there is not ours.
func readTables() (tables, error) {
	conn, err := dialNFT()
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.close() }()
	found := make(tables)
	if err := found.readChains(conn); err != nil {
		return nil, fmt.Errorf("read nftables table %q: %w", tableName, err)
	}
	for f, chains := range found {
		if err := chains.readRules(conn, f); err != nil {
			return nil, fmt.Errorf("read nftables table %q: %w", tableName, err)
		}
	}
	return found, nil
}

// readChains adds the chains of the tables of our name, without rules.
func (t tables) readChains(conn *nftConn) error {
	parents, err := conn.dump(unix.NFT_MSG_GETTABLE, allFamilies, nil)
	if err != nil {
		return fmt.Errorf("list tables: %w", err)
	}
	for _, m := range parents {
		if stringAttr(m.attrs, unix.NFTA_TABLE_NAME) == tableName && (m.family == ipv4 || m.family == ipv6) {
			t[m.family] = make(table)
		}
	}
	if len(t) == 0 {
		return nil
	}
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
		}
	}
	for _, chains := range t {
		if len(chains) == 0 {
			return fmt.Errorf("a table without chains %w", fault.ErrForeign)
		}
	}
	return nil
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
		chain := stringAttr(m.attrs, unix.NFTA_RULE_CHAIN)
		comment, ok := parseComment(findAttr(m.attrs, unix.NFTA_RULE_USERDATA))
		if !ok {
			return fmt.Errorf("rule with handle %d of chain %q %w", uint64Attr(m.attrs, unix.NFTA_RULE_HANDLE), chain, fault.ErrForeign)
		}
		t[chain] = append(t[chain], encodedRule{comment, findAttr(m.attrs, unix.NFTA_RULE_EXPRESSIONS)})
	}
	return nil
}

// write replaces the found tables in the kernel by these, in one transaction. A
// chain that is the same in both is not touched, so it goes on counting. The base
// chains stay: without them packets would pass, and the kernel would drop what
// waits in any queue (nf_queue_nf_hook_drop in net/netfilter/nf_queue.c).
func (t tables) write(found tables) error {
	var messages []nftMessage
	for _, f := range slices.Sorted(maps.Keys(t)) {
		messages = append(messages, t[f].changes(f, found[f])...)
	}
	return commit("write nftables rules", messages)
}

// changes returns the messages that make this table out of the found one.
func (t table) changes(f family, found table) []nftMessage {
	messages := []nftMessage{newTable(f)}
	for _, name := range slices.SortedFunc(maps.Keys(t), faultChainsFirst) {
		if rules, ok := found[name]; ok && equalRules(rules, t[name]) {
			continue
		}
		messages = append(messages, newChain(f, name), flushChain(f, name))
		for _, r := range t[name] {
			messages = append(messages, newRule(f, name, r))
		}
	}
	for name := range found {
		if _, ok := t[name]; !ok && !isBase(name) {
			messages = append(messages, flushChain(f, name), deleteChain(f, name))
		}
	}
	return messages
}

// add adds a chain with these rules.
func (t table) add(f family, chain string, rules []rule) error {
	encoded := make([]encodedRule, len(rules))
	for i, r := range rules {
		content, err := encode(f, r.exprs)
		if err != nil {
			return err
		}
		encoded[i] = encodedRule{r.comment, content}
	}
	t[chain] = encoded
	return nil
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
	var messages []nftMessage
	for f := range t {
		messages = append(messages, deleteTable(f))
	}
	return commit("delete nftables tables", messages)
}

func commit(what string, messages []nftMessage) error {
	conn, err := dialNFT()
	if err != nil {
		return err
	}
	defer func() { _ = conn.close() }()
	if err := conn.commit(messages); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
