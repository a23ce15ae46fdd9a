package netem

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"

	"github.com/tidelay/tidelay/pkg/agent/distribution"
	"github.com/tidelay/tidelay/pkg/fault"
)

// fullSetting asks for everything at once, with a value of its own in each
// field.
func fullSetting() setting {
	return setting{
		options: options{
			delay: 5*time.Millisecond + 1, jitter: 2 * time.Millisecond, limit: 0x1111, delayCorrelation: 1, lossCorrelation: 2, duplicateCorrelation: 3,
			loss: 0x2222, duplicate: 0x3333, corrupt: 4, corruptCorrelation: 5, gap: 0x4444, reorder: 6, reorderCorrelation: 7,
			rate: 125_000, packetOverhead: -8, cellSize: 9, cellOverhead: -10,
		},
		seed: 0x0102030405060708, seeded: true,
	}
}

func TestEncodeGolden(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the bytes below are of a little-endian machine")
	}
	got := fullSetting().encode()
	want := strings.Join([]string{
		"2d310100" + "11110000" + "22220000" + "44440000" + "33330000" + "127a0000", // tc_netem_qopt: latency limit loss gap duplicate jitter
		"1000" + "0100" + "01000000" + "02000000" + "03000000",                      // tc_netem_corr
		"0c00" + "0300" + "06000000" + "07000000",                                   // tc_netem_reorder
		"0c00" + "0400" + "04000000" + "05000000",                                   // tc_netem_corrupt
		"1400" + "0600" + "48e80100" + "f8ffffff" + "09000000" + "f6ffffff",         // tc_netem_rate
		"0800" + "0700" + "00000000",                                                // ECN
		"0c00" + "0a00" + "414b4c0000000000",                                        // latency64
		"0c00" + "0b00" + "80841e0000000000",                                        // jitter64
		"2c00" + "0c00" + strings.Repeat("00", sizeSlot),                            // tc_netem_slot
		"0c00" + "0e00" + "0807060504030201",                                        // PRNG seed
	}, "")
	if hex.EncodeToString(got) != want {
		t.Errorf("encode:\n got %x\nwant %s", got, want)
	}
	models := map[string]struct {
		i    fault.Impairment
		want string
	}{
		"Gilbert-Elliott": {
			fault.Impairment{GilbertElliott: &fault.GilbertElliott{ToBad: fault.Hundred, ToGood: 0, LossInBad: fault.Hundred, LossInGood: fault.Hundred}},
			"1800" + "0500" + "1400" + "0200" + "ffffffff" + "00000000" + "00000000" + "ffffffff", // p r h k1
		},
		"four states": {
			fault.Impairment{FourState: &fault.FourState{P13: fault.Hundred, P14: fault.Hundred}},
			"1c00" + "0500" + "1800" + "0100" + "ffffffff" + "00000000" + "00000000" + "ffffffff" + "00000000", // p13 p31 p32 p14 p23
		},
	}
	for name, c := range models {
		if got := hex.EncodeToString(settingFor(c.i, 1<<30).encode()); !strings.HasSuffix(got, c.want) {
			t.Errorf("%s: %s, want it to end in %s", name, got, c.want)
		}
	}
}

// What the kernel keeps when it is not told otherwise must be told to be zero.
func TestEncodeWritesExplicitZeros(t *testing.T) {
	payload := setting{options: options{delay: time.Millisecond, limit: 1000}}.encode()
	attrs, err := nl.ParseRouteAttr(payload[sizeQopt:])
	if err != nil {
		t.Fatal(err)
	}
	sizes := map[int]int{}
	for _, attr := range attrs {
		sizes[int(attr.Attr.Type)] = len(attr.Value)
		if attr.Attr.Type == attrLatency64 {
			continue
		}
		for _, b := range attr.Value {
			if b != 0 {
				t.Errorf("attribute %d is not zero: %v", attr.Attr.Type, attr.Value)
			}
		}
	}
	for attr, size := range map[int]int{attrCorrelation: 12, attrReorder: 8, attrCorrupt: 8, attrRate: 16, attrECN: 4, attrJitter64: 8, attrLatency64: 8, attrSlot: 40} {
		if sizes[attr] != size {
			t.Errorf("attribute %d has %d bytes, want %d", attr, sizes[attr], size)
		}
	}
}

// A table stays in the kernel until another one comes, so a uniform jitter
// needs one as much as the others.
func TestEncodeSendsATableWithEveryJitter(t *testing.T) {
	for _, d := range []fault.Distribution{fault.Uniform, fault.Normal, fault.Pareto, fault.ParetoNormal} {
		s := settingFor(fault.Impairment{Delay: time.Second, Jitter: time.Millisecond, Distribution: d}, 1<<30)
		attrs, err := nl.ParseRouteAttrAsMap(s.encode()[sizeQopt:])
		if err != nil {
			t.Fatal(err)
		}
		table := attrs[attrDelayDist].Value
		if len(table) != 2*distribution.Size {
			t.Fatalf("%s: a table of %d bytes, want %d", d, len(table), 2*distribution.Size)
		}
		for i, want := range distribution.Table(d) {
			if got := int16(binary.NativeEndian.Uint16(table[2*i:])); got != want {
				t.Fatalf("%s: sample %d is %d, want %d", d, i, got, want)
			}
		}
	}
	attrs, err := nl.ParseRouteAttrAsMap(setting{options: options{delay: time.Second}}.encode()[sizeQopt:])
	if _, sent := attrs[attrDelayDist]; err != nil || sent {
		t.Errorf("a delay without jitter has a table (%v)", err)
	}
}

// decode is the inverse of encode in all that the kernel reports.
func TestOptionsSurviveTheKernelsFormat(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	any32 := func() uint32 { return []uint32{0, 1, random.Uint32(), math.MaxUint32}[random.IntN(4)] }
	for range 2_000 {
		s := setting{options: options{
			delay: time.Duration(random.Int64N(int64(10 * time.Minute))), jitter: time.Duration(random.Int64N(int64(maxJitter))), limit: any32(),
			delayCorrelation: any32(), lossCorrelation: any32(), duplicateCorrelation: any32(), loss: any32(), duplicate: any32(),
			corrupt: any32(), corruptCorrelation: any32(), gap: any32(), reorder: any32(), reorderCorrelation: any32(),
			rate: random.Uint64N(fault.MaxRate), packetOverhead: int32(any32()), cellSize: any32(), cellOverhead: int32(any32()),
		}}
		s.model = lossModel(random.IntN(3))
		for i := range []int{0, 5, 4}[s.model] {
			s.parameters[i] = any32()
		}
		if random.IntN(2) == 0 {
			s.seed, s.seeded = random.Uint64(), true
		}
		if got, err := decode(s.encode()); err != nil || got != s {
			t.Fatalf("decode(encode(%+v)) =\n%+v, %v", s, got, err)
		}
	}
}

// The 32-bit fields end at 275 s; they must stop there and not wrap round.
func TestEncodeSaturatesOldTimes(t *testing.T) {
	payload := setting{options: options{delay: 10 * time.Minute}}.encode()
	if ticks := binary.NativeEndian.Uint32(payload); ticks != math.MaxUint32 {
		t.Errorf("32-bit latency of 10m is %d ticks, want the greatest", ticks)
	}
}

func TestDecodeNoticesMore(t *testing.T) {
	plain := setting{options: options{delay: 20 * time.Millisecond, limit: 1000}}
	slotted := append(plain.encode(), nl.NewRtAttr(attrSlot, bytes32(1, 0, 0, 0, 0, 0, 0, 0, 0, 0)).Serialize()...)
	got, err := decode(slotted)
	if err != nil || !got.more || plain.agreesWith(got.options) {
		t.Errorf("slots are not noticed: %+v, %v", got, err)
	}
	for name, payload := range map[string][]byte{
		"nothing":               nil,
		"a short qopt":          plain.encode()[:sizeQopt-1],
		"a short correlation":   append(plain.encode()[:sizeQopt], nl.NewRtAttr(attrCorrelation, bytes32(1)).Serialize()...),
		"a short loss model":    append(plain.encode(), nl.NewRtAttr(attrLoss, nl.NewRtAttr(1, bytes32(1)).Serialize()).Serialize()...),
		"a short 64-bit jitter": append(plain.encode()[:sizeQopt], nl.NewRtAttr(attrJitter64, bytes32(1)).Serialize()...),
	} {
		if got, err := decode(payload); err == nil {
			t.Errorf("decode of %s = %+v, want an error", name, got)
		}
	}
}

// A kernel without 64-bit times rounds down to a tick, and no further.
func TestAgreesWithAllowsForTicks(t *testing.T) {
	want := options{delay: 1000, jitter: 200}
	for _, c := range []struct {
		delay, jitter time.Duration
		agrees        bool
	}{{1000, 200, true}, {960, 192, true}, {937, 200, true}, {936, 200, false}, {1001, 200, false}, {1000, 136, false}} {
		if got := want.agreesWith(options{delay: c.delay, jitter: c.jitter}); got != c.agrees {
			t.Errorf("delay %d jitter %d agree: %t, want %t", c.delay, c.jitter, got, c.agrees)
		}
	}
}

func TestLimit(t *testing.T) {
	const budget = 256 << 20
	rate := func(bits uint64) *fault.Rate { return &fault.Rate{BitsPerSecond: bits} }
	for name, c := range map[string]struct {
		i      fault.Impairment
		memory uint64
		want   uint32
	}{
		"a short delay":        {fault.Impairment{Delay: time.Microsecond}, budget, 1_000},
		"no delay":             {fault.Impairment{Partition: true}, budget, 1_000},
		"20 ms":                {fault.Impairment{Delay: 20 * time.Millisecond}, budget, 10_000},
		"100 ms":               {fault.Impairment{Delay: 100 * time.Millisecond}, budget, 50_000},
		"uniform jitter":       {fault.Impairment{Delay: 20 * time.Millisecond, Jitter: 10 * time.Millisecond, Distribution: fault.Uniform}, budget, 15_000},
		"a tail":               {fault.Impairment{Delay: 20 * time.Millisecond, Jitter: 10 * time.Millisecond, Distribution: fault.Normal}, budget, 30_000},
		"beyond the memory":    {fault.Impairment{Delay: time.Second}, budget, 131_072},
		"ten minutes":          {fault.Impairment{Delay: 10 * time.Minute, Jitter: maxJitter, Distribution: fault.Pareto}, 64 << 30, 32 << 20},
		"little memory":        {fault.Impairment{Delay: time.Millisecond}, 1 << 20, 512},
		"a rate":               {fault.Impairment{Rate: rate(12_112_000)}, budget, 500}, // 0.5 s of 1000 full frames/s
		"a slow rate":          {fault.Impairment{Rate: rate(8_000)}, budget, 10},       // half a second is not one
		"a delay under a rate": {fault.Impairment{Delay: time.Second, Rate: rate(12_112_000)}, budget, 1_500},
		"the fastest rate":     {fault.Impairment{Rate: rate(fault.MaxRate)}, 64 << 30, 4_132_231},
	} {
		if got := limitFor(c.i, c.memory); got != c.want {
			t.Errorf("%s: limit %d, want %d", name, got, c.want)
		}
	}
}

func TestEquivalent(t *testing.T) {
	const percent = fault.Hundred / 100
	seed := uint64(42)
	for want, c := range map[string]fault.Fault{
		"dev eth0 root netem delay 20ms":    {Impairment: fault.Impairment{Delay: 20 * time.Millisecond}},
		"dev eth0 root netem delay 1.0005s": {Impairment: fault.Impairment{Delay: 1000500 * time.Microsecond}},
		"dev ifb0 root netem loss 100%":     {Match: fault.Match{Direction: fault.Ingress}, Impairment: fault.Impairment{Partition: true}},
		"dev eth0 root netem delay 20ms 5ms 25% distribution pareto seed 42": {Impairment: fault.Impairment{
			Delay: 20 * time.Millisecond, Jitter: 5 * time.Millisecond, Correlation: 25 * percent, Distribution: fault.Pareto, Seed: &seed,
		}},
		"dev eth0 root netem delay 500us 100us":     {Impairment: fault.Impairment{Delay: 500 * time.Microsecond, Jitter: 100 * time.Microsecond, Distribution: fault.Uniform}},
		"dev eth0 root netem loss 0.0001% 33.3333%": {Impairment: fault.Impairment{Loss: &fault.Chance{Percent: 1, Correlation: 333333}}},
		"dev eth0 root netem loss gemodel 1% 10% 70% 0.1%": {Impairment: fault.Impairment{GilbertElliott: &fault.GilbertElliott{
			ToBad: percent, ToGood: 10 * percent, LossInBad: 70 * percent, LossInGood: percent / 10,
		}}},
		"dev eth0 root netem loss state 1% 2% 3% 4% 5%": {Impairment: fault.Impairment{FourState: &fault.FourState{
			P13: percent, P31: 2 * percent, P32: 3 * percent, P23: 4 * percent, P14: 5 * percent,
		}}},
		"dev eth0 root netem delay 1ms duplicate 1% 2% corrupt 3% reorder 25% 50% gap 5": {Impairment: fault.Impairment{
			Delay: time.Millisecond, Duplicate: &fault.Chance{Percent: percent, Correlation: 2 * percent}, Corrupt: &fault.Chance{Percent: 3 * percent},
			Reorder: &fault.Reorder{Percent: 25 * percent, Correlation: 50 * percent, Gap: 5},
		}},
		"dev eth0 root netem rate 1.5gbit":        {Impairment: fault.Impairment{Rate: &fault.Rate{BitsPerSecond: 1_500_000_000}}},
		"dev eth0 root netem rate 1mbit 10 53 -5": {Impairment: fault.Impairment{Rate: &fault.Rate{BitsPerSecond: 1_000_000, PacketOverhead: 10, CellSize: 53, CellOverhead: -5}}},
		"dev eth0 root netem rate 800kbit -14":    {Impairment: fault.Impairment{Rate: &fault.Rate{BitsPerSecond: 800_000, PacketOverhead: -14}}},
	} {
		if got := Equivalent(device, c); got != "tc qdisc replace "+want {
			t.Errorf("got  %s\nwant tc qdisc replace %s", got, want)
		}
	}
}
