package netem

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"
)

func TestOptionsSurviveTheKernelsFormat(t *testing.T) {
	for _, delay := range []time.Duration{time.Microsecond, 1500 * time.Microsecond, 20*time.Millisecond + 1, 274877 * time.Millisecond, 10 * time.Minute} {
		want := options{delay: delay, limit: limitFor(delay)}
		got, err := decode(want.encode())
		if err != nil || got != want {
			t.Errorf("decode(encode(%+v)) = %+v, %v", want, got, err)
		}
	}
}

// What the kernel keeps when it is not told otherwise must be told to be zero.
func TestEncodeWritesExplicitZeros(t *testing.T) {
	payload := options{delay: time.Millisecond, limit: 1000}.encode()
	attrs, err := nl.ParseRouteAttr(payload[sizeQopt:])
	if err != nil {
		t.Fatal(err)
	}
	sizes := map[uint16]int{}
	for _, attr := range attrs {
		sizes[attr.Attr.Type] = len(attr.Value)
		if attr.Attr.Type == attrLatency64 {
			continue
		}
		for _, b := range attr.Value {
			if b != 0 {
				t.Errorf("attribute %d is not zero: %v", attr.Attr.Type, attr.Value)
			}
		}
	}
	for attr, size := range map[uint16]int{attrCorrelation: 12, attrReorder: 8, attrCorrupt: 8, attrRate: 16, attrECN: 4, attrJitter64: 8, attrLatency64: 8, attrSlot: 40} {
		if sizes[attr] != size {
			t.Errorf("attribute %d has %d bytes, want %d", attr, sizes[attr], size)
		}
	}
}

// The 32-bit field ends at 275 s; it must stop there and not wrap round.
func TestEncodeSaturatesOldTimes(t *testing.T) {
	payload := options{delay: 10 * time.Minute}.encode()
	if ticks := binary.NativeEndian.Uint32(payload); ticks != 1<<32-1 {
		t.Errorf("32-bit latency of 10m is %d ticks, want the greatest", ticks)
	}
}

func TestDecodeRefusesWhatIsNotOurs(t *testing.T) {
	plain := options{delay: 20 * time.Millisecond, limit: 1000}.encode()
	lossy := append([]byte(nil), plain...)
	binary.NativeEndian.PutUint32(lossy[8:], 1)
	rated := append([]byte(nil), plain[:sizeQopt]...)
	rate := make([]byte, sizeRate)
	binary.NativeEndian.PutUint32(rate, 1_000_000)
	rated = append(rated, nl.NewRtAttr(attrRate, rate).Serialize()...)
	model := append(append([]byte(nil), plain...), nl.NewRtAttr(attrLoss, []byte{4, 0, 1, 0}).Serialize()...)
	for name, payload := range map[string][]byte{
		"a model":     model,
		"nothing":     nil,
		"a short one": plain[:sizeQopt-1],
		"a loss":      lossy,
		"a rate":      rated,
	} {
		if got, err := decode(payload); err == nil {
			t.Errorf("decode of %s = %+v, want an error", name, got)
		}
	}
}

// Latency must not become loss: the queue holds a delay's worth of packets, at
// least netem's own default, within the memory budget.
func TestLimitHoldsTheDelay(t *testing.T) {
	for delay, want := range map[time.Duration]uint32{
		time.Microsecond:       minLimit,
		time.Millisecond:       minLimit,
		20 * time.Millisecond:  10_000,
		100 * time.Millisecond: 50_000,
		time.Second:            maxLimit,
		10 * time.Minute:       maxLimit,
	} {
		if got := limitFor(delay); got != want {
			t.Errorf("limitFor(%s) = %d, want %d", delay, got, want)
		}
	}
}
