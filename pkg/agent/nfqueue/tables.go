//go:build linux

package nfqueue

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// table is the rules of one family by the name of their chain.
type table map[string][]encodedRule

// encodedRule is a rule as the kernel has it.
type encodedRule struct {
	comment string
	content content
	handle  []byte // names the rule in the kernel; nil before it is there
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

// replaced returns the tables after rules were replaced: each by the rule that the
// kernel returned for the request. It returns false if these are not all of that
// kind, or do not fit the tables.
func (t tables) replaced(requests, returned []nftMessage) (tables, bool) {
	if len(requests) != len(returned) {
		return nil, false
	}
	after := make(tables)
	for f, chains := range t {
		after[f] = maps.Clone(chains)
	}
	for i, request := range requests {
		chain, rule, ours := parseRule(returned[i])
		rules := slices.Clone(after[request.family][chain])
		handle := findAttr(request.attrs, unix.NFTA_RULE_HANDLE)
		place := slices.IndexFunc(rules, func(r encodedRule) bool { return bytes.Equal(r.handle, handle) })
		if !ours || place < 0 || request.flags&unix.NLM_F_REPLACE == 0 || returned[i].family != request.family {
			return nil, false
		}
		rules[place] = rule
		after[request.family][chain] = rules
	}
	return after, true
}

// changes returns the messages that replace the found tables by these. A rule that
// is the same in both is not touched, so it goes on counting. The base chains
// stay: without them packets would pass, and the kernel would drop what waits in
// any queue (nf_queue_nf_hook_drop in net/netfilter/nf_queue.c).
func (t tables) changes(found tables) []nftMessage {
	var messages []nftMessage
	for _, f := range slices.Sorted(maps.Keys(t)) {
		messages = append(messages, t[f].changes(f, found[f])...)
	}
	return messages
}

// changes returns the messages that make this table out of the found one.
func (t table) changes(f family, found table) []nftMessage {
	var messages []nftMessage
	if found == nil || slices.ContainsFunc(slices.Collect(maps.Values(found)), isSpoiled) {
		messages = append(messages, newTable(f))
	}
	for _, name := range slices.SortedFunc(maps.Keys(t), faultChainsFirst) {
		if rules, ok := found[name]; ok && len(rules) == len(t[name]) && !isSpoiled(rules) {
			messages = append(messages, replacements(f, name, rules, t[name])...)
			continue
		}
		messages = append(messages, wholeChain(f, name, t[name])...)
	}
	for name := range found {
		if _, ok := t[name]; !ok && !isBase(name) {
			messages = append(messages, flushChain(f, name), deleteChain(f, name))
		}
	}
	return messages
}

// wholeChain returns the messages that make a chain of these rules, whatever it was.
func wholeChain(f family, chain string, rules []encodedRule) []nftMessage {
	messages := []nftMessage{newChain(f, chain), flushChain(f, chain)}
	for _, r := range rules {
		messages = append(messages, newRule(f, chain, r))
	}
	return messages
}

// replacements returns the messages that make a chain's rules out of as many that
// were found.
func replacements(f family, chain string, found, want []encodedRule) []nftMessage {
	var messages []nftMessage
	for i, r := range want {
		if !found[i].does(r) {
			messages = append(messages, replaceRule(f, chain, found[i].handle, r))
		}
	}
	return messages
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

// removal returns the messages that delete the tables. The kernel drops what is in
// any queue then, so ours must be empty.
func (t tables) removal() []nftMessage {
	var messages []nftMessage
	for f := range t {
		messages = append(messages, deleteTable(f))
	}
	return messages
}
