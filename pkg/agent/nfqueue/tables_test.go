//go:build linux

package nfqueue

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// A change writes the rules that differ, and no others.
func TestChangesOfATable(t *testing.T) {
	rules := func(comments ...string) (all []encodedRule) {
		for i, comment := range comments {
			all = append(all, encodedRule{comment: comment, handle: []byte{byte(i + 1)}})
		}
		return all
	}
	base := rules("other devices", "fault a")
	for name, c := range map[string]struct {
		found, want table
		messages    []uint16
		handles     []byte // of rules that are replaced
	}{
		"nothing": {table{egressChain: base}, table{egressChain: base}, nil, nil},
		"no table": {
			nil,
			table{egressChain: base[:1]},
			[]uint16{unix.NFT_MSG_NEWTABLE, unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_DELRULE, unix.NFT_MSG_NEWRULE},
			nil,
		},
		"another delay": {
			table{"egress-0": rules("a 1", "delay"), egressChain: base},
			table{"egress-0": rules("a 2", "delay"), egressChain: base},
			[]uint16{unix.NFT_MSG_NEWRULE},
			[]byte{1},
		},
		"both rules": {
			table{"egress-0": rules("a 1", "delay"), egressChain: base},
			table{"egress-0": rules("a 2", "drop"), egressChain: base},
			[]uint16{unix.NFT_MSG_NEWRULE, unix.NFT_MSG_NEWRULE},
			[]byte{1, 2},
		},
		"another number of rules": {
			table{egressChain: base},
			table{egressChain: base[:1]},
			[]uint16{unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_DELRULE, unix.NFT_MSG_NEWRULE},
			nil,
		},
		"a new chain comes first": {
			table{egressChain: base[:1]},
			table{egressChain: base, "egress-0": rules("a 1")},
			[]uint16{unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_DELRULE, unix.NFT_MSG_NEWRULE, unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_DELRULE, unix.NFT_MSG_NEWRULE, unix.NFT_MSG_NEWRULE},
			nil,
		},
		"an old chain goes last": {
			table{egressChain: base, "egress-0": rules("a 1")},
			table{egressChain: base[:1]},
			[]uint16{unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_DELRULE, unix.NFT_MSG_NEWRULE, unix.NFT_MSG_DELRULE, unix.NFT_MSG_DELCHAIN},
			nil,
		},
	} {
		var kinds []uint16
		var handles []byte
		for _, m := range c.want.changes(ipv4, c.found) {
			kinds = append(kinds, m.kind)
			if m.flags&unix.NLM_F_REPLACE != 0 {
				handles = append(handles, findAttr(m.attrs, unix.NFTA_RULE_HANDLE)...)
			}
		}
		if !slices.Equal(kinds, c.messages) || !slices.Equal(handles, c.handles) {
			t.Errorf("%s: messages %v that replace rules %v, want %v and %v", name, kinds, handles, c.messages, c.handles)
		}
	}
}

// What the kernel returns of replaced rules takes their places. If anything else
// was requested or returned, the tables must be read.
func TestReplacedRules(t *testing.T) {
	named := func(comment string, handle byte) encodedRule {
		return encodedRule{comment: comment, handle: []byte{handle}}
	}
	returned := func(f family, comment string, handle byte) nftMessage {
		return nftMessage{family: f, attrs: ruleAttrs("egress-0", []byte{handle}, encodedRule{comment: comment})}
	}
	found := tables{ipv4: {"egress-0": {named("a 1", 1), named("delay", 2)}}, ipv6: {"egress-0": {named("a 1", 1), named("delay", 2)}}}
	want := tables{ipv4: {"egress-0": {named("a 2", 7), named("delay", 2)}}, ipv6: {"egress-0": {named("a 2", 8), named("delay", 2)}}}
	requests := want.changes(found)
	got, ok := found.replaced(requests, []nftMessage{returned(ipv4, "a 2", 7), returned(ipv6, "a 2", 8)})
	if !ok || !got.equal(want) || got[ipv4]["egress-0"][0].handle[0] != 7 || got[ipv6]["egress-0"][0].handle[0] != 8 {
		t.Errorf("%v, %v", got, ok)
	}
	if found[ipv4]["egress-0"][0].comment != "a 1" {
		t.Error("the tables of before were changed")
	}
	for name, other := range map[string][]nftMessage{
		"nothing":       nil,
		"one":           {returned(ipv4, "a 2", 7)},
		"wrong order":   {returned(ipv6, "a 2", 8), returned(ipv4, "a 2", 7)},
		"somebody else": {returned(ipv4, "a 2", 7), {family: ipv6}},
	} {
		if _, ok := found.replaced(requests, other); ok {
			t.Errorf("%s is taken for what was requested", name)
		}
	}
	if _, ok := found.replaced(tables{ipv4: {egressChain: nil}}.changes(nil), requests[:1]); ok {
		t.Error("a new chain is taken for a replaced rule")
	}
}
