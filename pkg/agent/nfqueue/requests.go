//go:build linux

package nfqueue

import (
	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// The messages of a transaction.

// newTable adds our table. One that is there stays, without its flags.
func newTable(f family) nftMessage {
	attrs := appendString(nil, unix.NFTA_TABLE_NAME, tableName)
	return nftMessage{unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, f, appendUint32(attrs, unix.NFTA_TABLE_FLAGS, 0)}
}

// deleteTable deletes our table with everything in it.
func deleteTable(f family) nftMessage {
	return nftMessage{unix.NFT_MSG_DELTABLE, 0, f, appendString(nil, unix.NFTA_TABLE_NAME, tableName)}
}

// newChain adds a chain, with its hook and its policy if it is a base chain. One
// that is there stays, with that policy.
func newChain(f family, name string) nftMessage {
	attrs := namedChain(unix.NFTA_CHAIN_NAME, name)
	if c := ourChain(ourTable(f), name); c.Hooknum != nil {
		hook := appendUint32(nil, unix.NFTA_HOOK_HOOKNUM, uint32(*c.Hooknum))
		hook = appendUint32(hook, unix.NFTA_HOOK_PRIORITY, uint32(*c.Priority))
		attrs = appendAttr(attrs, unix.NLA_F_NESTED|unix.NFTA_CHAIN_HOOK, hook)
		attrs = appendUint32(attrs, unix.NFTA_CHAIN_POLICY, uint32(nftables.ChainPolicyAccept))
		attrs = appendString(attrs, unix.NFTA_CHAIN_TYPE, string(c.Type))
	}
	return nftMessage{unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, f, attrs}
}

func deleteChain(f family, name string) nftMessage {
	return nftMessage{unix.NFT_MSG_DELCHAIN, 0, f, namedChain(unix.NFTA_CHAIN_NAME, name)}
}

// flushChain deletes all rules of a chain.
func flushChain(f family, name string) nftMessage {
	return nftMessage{unix.NFT_MSG_DELRULE, 0, f, namedChain(unix.NFTA_RULE_CHAIN, name)}
}

// deleteRule deletes the rule with this handle.
func deleteRule(f family, chain string, handle []byte) nftMessage {
	return nftMessage{unix.NFT_MSG_DELRULE, 0, f, appendAttr(namedChain(unix.NFTA_RULE_CHAIN, chain), unix.NFTA_RULE_HANDLE, handle)}
}

// newRule appends a rule to a chain.
func newRule(f family, chain string, r encodedRule) nftMessage {
	return nftMessage{unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE | unix.NLM_F_APPEND, f, ruleAttrs(chain, nil, r)}
}

// replaceRule puts a rule in the place of the one with this handle.
func replaceRule(f family, chain string, handle []byte, r encodedRule) nftMessage {
	return nftMessage{unix.NFT_MSG_NEWRULE, unix.NLM_F_REPLACE, f, ruleAttrs(chain, handle, r)}
}

func ruleAttrs(chain string, handle []byte, r encodedRule) []byte {
	const names = 256 // bytes for the rest
	attrs := append(make([]byte, 0, len(r.content)+names), namedChain(unix.NFTA_RULE_CHAIN, chain)...)
	if handle != nil {
		attrs = appendAttr(attrs, unix.NFTA_RULE_HANDLE, handle)
	}
	attrs = appendAttr(attrs, unix.NLA_F_NESTED|unix.NFTA_RULE_EXPRESSIONS, r.content)
	return appendAttr(attrs, unix.NFTA_RULE_USERDATA, formatComment(r.comment))
}

// namedChain has the attributes that name a chain of our table. The table's is the
// first in messages about chains and about rules (NFTA_CHAIN_TABLE,
// NFTA_RULE_TABLE).
func namedChain(chainAttr uint16, name string) []byte {
	return appendString(appendString(nil, unix.NFTA_CHAIN_TABLE, tableName), chainAttr, name)
}
