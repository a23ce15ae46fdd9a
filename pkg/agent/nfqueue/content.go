//go:build linux

package nfqueue

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// content is the expressions of a rule as the kernel has them: a list of
// attributes, each with the name of an expression and its data
// (NFTA_RULE_EXPRESSIONS in include/uapi/linux/netfilter/nf_tables.h).
type content []byte

// encode returns the content that a rule is given.
func encode(f family, exprs []expr.Any) (content, error) {
	var c content
	for _, e := range exprs {
		one, err := expr.Marshal(byte(f), e)
		if err != nil {
			return nil, fmt.Errorf("encode nftables expression %T: %w", e, err)
		}
		c = appendAttr(c, unix.NLA_F_NESTED|unix.NFTA_LIST_ELEM, one)
	}
	return c, nil
}

// encodeRules encodes the rules of a chain.
func encodeRules(f family, rules []rule) ([]encodedRule, error) {
	encoded := make([]encodedRule, len(rules))
	for i, r := range rules {
		content, err := encode(f, r.exprs)
		if err != nil {
			return nil, err
		}
		encoded[i] = encodedRule{comment: r.comment, content: content}
	}
	return encoded, nil
}

// holds reports whether the content, which was found in the kernel, does what the
// wanted one does: the same expressions in the same order, each with at least the
// attributes that it was given. The kernel adds some. What counters have counted
// does not matter.
func (c content) holds(want content) bool {
	rest := []byte(c)
	for _, wanted := range attributes(want) {
		var one []byte
		if one, rest = cutAttr(rest); one == nil {
			return false
		}
		if !bytes.Equal(findAttr(one, unix.NFTA_EXPR_NAME), findAttr(wanted, unix.NFTA_EXPR_NAME)) {
			return false
		}
		if !isCounter(wanted) && !holdsAttrs(findAttr(one, unix.NFTA_EXPR_DATA), findAttr(wanted, unix.NFTA_EXPR_DATA)) {
			return false
		}
	}
	return len(rest) == 0
}

// holdsAttrs reports whether all wanted attributes are among the found ones. Those
// that consist of others are compared one by one.
func holdsAttrs(found, want []byte) bool {
	for len(want) >= unix.SizeofNlAttr {
		nested := binary.NativeEndian.Uint16(want[2:])&unix.NLA_F_NESTED != 0
		kind := binary.NativeEndian.Uint16(want[2:]) &^ attrFlags
		var value []byte
		value, want = cutAttr(want)
		is := findAttr(found, kind)
		if value == nil || is == nil || nested && !holdsAttrs(is, value) || !nested && !bytes.Equal(is, value) {
			return false
		}
	}
	return true
}

// cutAttr returns the value of the first attribute, nil if there is none, and what
// comes after it.
func cutAttr(b []byte) (value, rest []byte) {
	for _, value := range attributes(b) {
		return value, b[min(alignAttr(unix.SizeofNlAttr+len(value)), len(b)):]
	}
	return nil, nil
}

// counted returns what the counters of a rule have counted.
func (c content) counted() (packets, bytes uint64) {
	for _, one := range attributes(c) {
		if !isCounter(one) {
			continue
		}
		data := findAttr(one, unix.NFTA_EXPR_DATA)
		packets += uint64Attr(data, unix.NFTA_COUNTER_PACKETS)
		bytes += uint64Attr(data, unix.NFTA_COUNTER_BYTES)
	}
	return packets, bytes
}

func isCounter(expression []byte) bool {
	return string(findAttr(expression, unix.NFTA_EXPR_NAME)) == "counter\x00"
}
