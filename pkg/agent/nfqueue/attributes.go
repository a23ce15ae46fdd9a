//go:build linux

package nfqueue

import (
	"encoding/binary"
	"iter"
	"strings"

	"golang.org/x/sys/unix"
)

// attributes goes over netlink attributes (struct nlattr), by kind without its
// flags. It ends at one that is cut off.
func attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(kind uint16, value []byte) bool) {
		for len(b) >= unix.SizeofNlAttr {
			size, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
			if size < unix.SizeofNlAttr || size > len(b) || !yield(kind&^attrFlags, b[unix.SizeofNlAttr:size:size]) {
				return
			}
			b = b[min(alignAttr(size), len(b)):]
		}
	}
}

// attrFlags are the bits of an attribute's kind that are no part of it.
const attrFlags = unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER

// findAttr returns the value of the first attribute of a kind, nil if there is
// none.
func findAttr(b []byte, kind uint16) []byte {
	for k, value := range attributes(b) {
		if k == kind {
			return value
		}
	}
	return nil
}

// appendAttr appends an attribute, whose value is in several parts.
func appendAttr(b []byte, kind uint16, parts ...[]byte) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	for _, part := range parts {
		b = append(b, part...)
	}
	size := len(b) - start
	binary.NativeEndian.PutUint16(b[start:], uint16(size))
	binary.NativeEndian.PutUint16(b[start+2:], kind)
	return append(b, make([]byte, alignAttr(size)-size)...)
}

// appendString appends an attribute whose value is a string that ends in NUL.
func appendString(b []byte, kind uint16, s string) []byte {
	return appendAttr(b, kind, []byte(s), []byte{0})
}

// appendUint32 appends an attribute whose value is big endian, as in netfilter.
func appendUint32(b []byte, kind uint16, value uint32) []byte {
	return appendAttr(b, kind, binary.BigEndian.AppendUint32(nil, value))
}

// uint32Attr returns the value of a big-endian attribute, 0 if there is none.
func uint32Attr(b []byte, kind uint16) uint32 {
	if value := findAttr(b, kind); len(value) == 4 {
		return binary.BigEndian.Uint32(value)
	}
	return 0
}

// uint64Attr is uint32Attr for 64 bits.
func uint64Attr(b []byte, kind uint16) uint64 {
	if value := findAttr(b, kind); len(value) == 8 {
		return binary.BigEndian.Uint64(value)
	}
	return 0
}

// stringAttr returns the value of a string attribute, less its NUL.
func stringAttr(b []byte, kind uint16) string {
	return strings.TrimSuffix(string(findAttr(b, kind)), "\x00")
}

func alignAttr(size int) int { return (size + unix.NLA_ALIGNTO - 1) &^ (unix.NLA_ALIGNTO - 1) }
