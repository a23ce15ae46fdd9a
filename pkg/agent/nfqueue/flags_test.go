//go:build linux

package nfqueue

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"testing"

	"github.com/mdlayher/netlink"
)

// A header without DF and with it, each with its checksum (RFC 1071).
const (
	plainHeader   = "45000073000000004011f861c0a80001c0a800c7"
	flaggedHeader = "45000073000040004011b861c0a80001c0a800c7"
	payload       = "0102030405"
)

func packetBytes(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWithoutFlag(t *testing.T) {
	for name, c := range map[string]struct{ packet, want string }{
		"DF":                 {flaggedHeader + payload, plainHeader + payload},
		"no DF":              {plainHeader + payload, plainHeader + payload},
		"a fragment with DF": {"45000073000060034011985ec0a80001c0a800c7", "45000073000020034011d85ec0a80001c0a800c7"},
		"options":            {"46000073000040004011b660c0a80001c0a800c701010000" + payload, "46000073000000004011f660c0a80001c0a800c701010000" + payload},
	} {
		packet := packetBytes(t, c.packet)
		if !withoutFlag(packet) || hex.EncodeToString(packet) != c.want {
			t.Errorf("%s: %x, want %s", name, packet, c.want)
		}
	}
	for name, text := range map[string]string{
		"nothing": "", "half a header": flaggedHeader[:38], "IPv6": "60" + flaggedHeader[2:], "a short header": "44" + flaggedHeader[2:],
	} {
		packet := packetBytes(t, text)
		if withoutFlag(packet) || hex.EncodeToString(packet) != text {
			t.Errorf("%s is taken for a packet of IPv4, and becomes %x", name, packet)
		}
	}
}

// Every packet gets a verdict, also one that can't be read: its original is gone.
func TestClearFlag(t *testing.T) {
	const id = 7
	for name, c := range map[string]struct{ content, want []byte }{
		"IPv4":    {packetBytes(t, flaggedHeader+payload), packetBytes(t, plainHeader+payload)},
		"nothing": {nil, nil},
		"cut off": {packetBytes(t, flaggedHeader[:20]), nil},
	} {
		m := clearFlag(packetMessage(t, id, netlink.Attribute{Type: attrPayload, Data: c.content}))
		var parsed netlink.Message
		if err := parsed.UnmarshalBinary(m); err != nil {
			t.Fatal(err)
		}
		attrs := parsed.Data[4:]
		verdict := findAttr(attrs, attrVerdictHeader)
		if parsed.Header.Type != typeVerdict || binary.BigEndian.Uint32(verdict) != verdictRepeat || binary.BigEndian.Uint32(verdict[4:]) != id {
			t.Errorf("%s: verdict %x of type %x", name, verdict, parsed.Header.Type)
		}
		if mark := findAttr(attrs, attrMark); binary.BigEndian.Uint32(mark) != unfragmentedMark() {
			t.Errorf("%s: mark %x", name, mark)
		}
		if content := findAttr(attrs, attrPayload); !bytes.Equal(content, c.want) {
			t.Errorf("%s: content %x, want %x", name, content, c.want)
		}
	}
	if m := clearFlag(answerMessage(t, 0)); m != nil {
		t.Errorf("the answer to a request gets the verdict %x", m)
	}
}
