//go:build linux

package nfqueue

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The requests are decoded with a library, not with our own code.
func TestRequests(t *testing.T) {
	type attrs map[uint16][]byte
	for name, c := range map[string]struct {
		request message
		kind    netlink.HeaderType
		flags   netlink.HeaderFlags
		want    attrs
	}{
		"bind a queue": {
			bind(0x0102, queueConfig{maxLen: 0x10000}), 0x302, netlink.Request | netlink.Acknowledge,
			attrs{
				1: {1, 0, 0, 0},             // bind
				2: {0, 0, 0, 0, 1, 0, 0, 0}, // metadata only
				3: {0, 1, 0, 0},             // length
				4: {0, 0, 0, 5},             // change fail-open and GSO
				5: {0, 0, 0, 5},             // to on
			},
		},
		"bind a queue with sizes, whose segments are cut": {
			bind(0x0102, queueConfig{maxLen: 0x10000, sizes: true, segmented: true}), 0x302, netlink.Request | netlink.Acknowledge,
			attrs{
				1: {1, 0, 0, 0},
				2: {0, 0, 0, 1, 2, 0, 0, 0}, // one byte of each packet
				3: {0, 1, 0, 0},
				4: {0, 0, 0, 5},
				5: {0, 0, 0, 1}, // fail-open alone
			},
		},
		"bind a queue with whole packets": {
			bind(0x0102, queueConfig{maxLen: 0x10000, whole: true, segmented: true}), 0x302, netlink.Request | netlink.Acknowledge,
			attrs{
				1: {1, 0, 0, 0},
				2: {0, 0, 0xff, 0xff, 2, 0, 0, 0}, // up to 65535 bytes of each packet
				3: {0, 1, 0, 0},
				4: {0, 0, 0, 5},
				5: {0, 0, 0, 1},
			},
		},
		"repeat one with another mark and content": {
			newVerdict(0x0102, verdictRepeat, 0x0a0b0c0d).with(attrMark, 0x01020304).withBytes(attrPayload, []byte{1, 2, 3, 4, 5}), 0x301, netlink.Request,
			attrs{2: {0, 0, 0, 4, 0x0a, 0x0b, 0x0c, 0x0d}, 3: {1, 2, 3, 4}, 10: {1, 2, 3, 4, 5}},
		},
		"change a queue": {
			reconfigure(0x0102, queueConfig{maxLen: 7}), 0x302, netlink.Request | netlink.Acknowledge,
			attrs{2: {0, 0, 0, 0, 1, 0, 0, 0}, 3: {0, 0, 0, 7}, 4: {0, 0, 0, 5}, 5: {0, 0, 0, 5}},
		},
		"bind the sink": {
			bindSink(0x0102), 0x302, netlink.Request | netlink.Acknowledge,
			attrs{1: {1, 0, 0, 0}},
		},
		"unbind": {
			unbind(0x0102), 0x302, netlink.Request | netlink.Acknowledge,
			attrs{1: {2, 0, 0, 0}},
		},
		"change the length": {
			setMaxLen(0x0102, 7), 0x302, netlink.Request | netlink.Acknowledge,
			attrs{3: {0, 0, 0, 7}},
		},
		"accept up to an id": {
			verdictMessage(typeVerdictBatch, verdictAccept), 0x303, netlink.Request,
			attrs{2: {0, 0, 0, 1, 0x0a, 0x0b, 0x0c, 0x0d}},
		},
		"accept one": {
			verdictMessage(typeVerdict, verdictAccept), 0x301, netlink.Request,
			attrs{2: {0, 0, 0, 1, 0x0a, 0x0b, 0x0c, 0x0d}},
		},
		"drop one": {
			verdictMessage(typeVerdict, verdictDrop), 0x301, netlink.Request,
			attrs{2: {0, 0, 0, 0, 0x0a, 0x0b, 0x0c, 0x0d}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var parsed netlink.Message
			if err := parsed.UnmarshalBinary(c.request); err != nil {
				t.Fatal(err)
			}
			if parsed.Header.Type != c.kind || parsed.Header.Flags != c.flags || int(parsed.Header.Length) != len(c.request) {
				t.Errorf("header %+v of %d bytes", parsed.Header, len(c.request))
			}
			// Any address family, version 0, the queue in network order.
			if nfgenmsg := parsed.Data[:4]; !slices.Equal(nfgenmsg, []byte{0, 0, 1, 2}) {
				t.Errorf("nfgenmsg %v", nfgenmsg)
			}
			decoded, err := netlink.UnmarshalAttributes(parsed.Data[4:])
			if err != nil {
				t.Fatal(err)
			}
			got := make(attrs)
			for _, a := range decoded {
				got[a.Type] = a.Data
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("attributes (-want +got)\n%s", diff)
			}
		})
	}
}

// verdictMessage is a verdict on packet 0x0a0b0c0d of queue 0x0102.
func verdictMessage(kind uint16, verdict uint32) message {
	m := make(message, verdictLen)
	m.fillVerdict(kind, 0x0102, verdict, 0x0a0b0c0d)
	return m
}

// packetMessage is what the kernel sends for a packet with an id.
func packetMessage(t testing.TB, id uint32, before ...netlink.Attribute) []byte {
	t.Helper()
	header := append(binary.BigEndian.AppendUint32(nil, id), 0x08, 0x00, 4)
	data, err := netlink.MarshalAttributes(append(before, netlink.Attribute{Type: attrPacketHeader, Data: header}))
	if err != nil {
		t.Fatal(err)
	}
	return kernelMessage(t, typePacket, append([]byte{unix.AF_INET, 0, 0x01, 0x02}, data...))
}

func answerMessage(t testing.TB, errno unix.Errno) []byte {
	t.Helper()
	return kernelMessage(t, unix.NLMSG_ERROR, append(binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno))), make([]byte, 16)...))
}

func kernelMessage(t testing.TB, kind netlink.HeaderType, data []byte) []byte {
	t.Helper()
	b, err := netlink.Message{
		Header: netlink.Header{Length: uint32(unix.SizeofNlMsghdr + len(data)), Type: kind},
		Data:   data,
	}.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseReply(t *testing.T) {
	whole := packetMessage(t, 0xfffffffe)
	for name, c := range map[string]struct {
		message []byte
		want    reply
		wantErr error
	}{
		"a packet":                    {message: whole, want: reply{isPacket: true, packet: packet{queue: 0x0102, id: 0xfffffffe}}},
		"a packet with more before":   {message: packetMessage(t, 7, netlink.Attribute{Type: 3, Data: []byte{1}}), want: reply{isPacket: true, packet: packet{queue: 0x0102, id: 7}}},
		"a packet with its size":      {message: packetMessage(t, 7, netlink.Attribute{Type: 13, Data: []byte{0, 0, 5, 220}}), want: reply{isPacket: true, packet: packet{queue: 0x0102, id: 7, size: 1500}}},
		"a packet that leaves":        {message: packetMessage(t, 7, netlink.Attribute{Type: 5, Data: []byte{0, 0, 0, 2}}, netlink.Attribute{Type: 6, Data: []byte{0, 0, 1, 3}}), want: reply{isPacket: true, packet: packet{queue: 0x0102, id: 7, device: 259}}},
		"a packet that arrives":       {message: packetMessage(t, 7, netlink.Attribute{Type: 5, Data: []byte{0, 0, 0, 2}}), want: reply{isPacket: true, packet: packet{queue: 0x0102, id: 7, device: 2}}},
		"a packet that was cut off":   {message: whole[:headerLen+unix.SizeofNlAttr], wantErr: errMalformed},
		"a packet without its header": {message: kernelMessage(t, typePacket, make([]byte, 4)), wantErr: errMalformed},
		"success":                     {message: answerMessage(t, 0), want: reply{}},
		"failure":                     {message: answerMessage(t, unix.EPERM), want: reply{answer: unix.EPERM}},
		"something else":              {message: kernelMessage(t, 0x0a01, make([]byte, 4)), wantErr: errMalformed},
		"half a header":               {message: whole[:8], wantErr: errMalformed},
		"nothing":                     {wantErr: errMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseReply(c.message)
			if !errors.Is(err, c.wantErr) || err == nil && got != c.want {
				t.Errorf("got %+v, %v; want %+v, %v", got, err, c.want, c.wantErr)
			}
		})
	}
}

func FuzzParseReply(f *testing.F) {
	f.Add(packetMessage(f, 1))
	f.Add(packetMessage(f, 2, netlink.Attribute{Type: 5, Data: make([]byte, 3)}))
	f.Add(answerMessage(f, unix.ENOENT))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseReply(b)
		if err != nil && !errors.Is(err, errMalformed) {
			t.Errorf("error %v", err)
		}
		if r.isPacket && r.answer != nil {
			t.Errorf("%+v is both a packet and an answer", r)
		}
	})
}
