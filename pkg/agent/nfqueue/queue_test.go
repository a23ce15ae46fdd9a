//go:build linux

package nfqueue

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

const ms = time.Millisecond

// left is what a kernel queue did, in order: an id that was accepted, or one
// that was dropped.
type left struct {
	id   uint32
	drop bool
}

// laneTest is a lane with the kernel's queue behind it and a clock.
type laneTest struct {
	t *testing.T
	*lane
	out  *verdicts
	now  time.Duration
	last uint32
	held []uint32
	left []left
}

func newLaneTest(t *testing.T, i fault.Impairment, limit uint32) *laneTest {
	t.Helper()
	l := &laneTest{t: t, lane: &lane{queue: 7, shape: newShape(i), limit: limit}}
	l.out = newVerdicts(l.carryOut)
	return l
}

// carryOut does with the packets it holds what the kernel does.
func (l *laneTest) carryOut(m message) error {
	for ; len(m) > 0; m = m[verdictLen:] {
		kind, verdict, id := binary.NativeEndian.Uint16(m[4:]), binary.BigEndian.Uint32(m[headerLen+4:]), binary.BigEndian.Uint32(m[headerLen+8:])
		l.held = slices.DeleteFunc(l.held, func(one uint32) bool {
			gone := one == id || kind == typeVerdictBatch && int32(one-id) <= 0
			if gone {
				l.left = append(l.left, left{one, verdict == verdictDrop})
			}
			return gone
		})
	}
	return nil
}

// come lets packets arrive, each of a size.
func (l *laneTest) come(count int, size uint32) {
	for range count {
		l.last++
		l.held = append(l.held, l.last)
		l.take(packet{queue: 7, id: l.last, size: size}, l.now, l.out)
	}
	l.pass(0)
}

// pass lets time go by and returns what left.
func (l *laneTest) pass(d time.Duration) []left {
	l.t.Helper()
	l.now += d
	before := len(l.left)
	l.letGo(l.now, l.out)
	if err := l.out.flush(); err != nil {
		l.t.Fatal(err)
	}
	if int(l.waiting()) != len(l.held) {
		l.t.Errorf("the lane counts %d packets, the kernel holds %d", l.waiting(), len(l.held))
	}
	return l.left[before:]
}

func ids(all []left) []uint32 {
	var list []uint32
	for _, one := range all {
		list = append(list, one.id)
	}
	return list
}

func TestAConstantDelayKeepsTheOrder(t *testing.T) {
	l := newLaneTest(t, fault.Impairment{Delay: 20 * ms}, 1000)
	l.come(2, 0)
	l.now += 5 * ms
	l.come(1, 0)
	if got := l.pass(15*ms - 1); len(got) != 0 {
		t.Errorf("%v left early", got)
	}
	if got := ids(l.pass(1)); !slices.Equal(got, []uint32{1, 2}) {
		t.Errorf("after 20ms %v left", got)
	}
	if due, ok := l.next(); !ok || due != 25*ms {
		t.Errorf("next is due at %s, %t", due, ok)
	}
	if got := ids(l.pass(5 * ms)); !slices.Equal(got, []uint32{3}) || l.early != 0 {
		t.Errorf("after 25ms %v left, %d early", got, l.early)
	}
}

// A delay of minutes that was set by mistake ends with the next one.
func TestAShorterDelayTakesHoldAtOnce(t *testing.T) {
	for name, first := range map[string]fault.Impairment{
		"constant": {Delay: 10 * time.Minute},
		"jitter":   {Delay: 10 * time.Minute, Jitter: ms, Distribution: fault.Uniform},
	} {
		l := newLaneTest(t, first, 1000)
		l.come(3, 0)
		l.become(fault.Impairment{Delay: 5 * ms}, 1000, l.now)
		l.come(2, 0)
		if got := l.pass(5*ms - 1); len(got) != 0 {
			t.Errorf("%s: %v left early", name, got)
		}
		if got := ids(l.pass(1)); !slices.Equal(got, []uint32{1, 2, 3, 4, 5}) {
			t.Errorf("%s: %v left after 5ms", name, got)
		}
	}
}

// A longer delay is for those that come; nobody overtakes.
func TestALongerDelayIsForThoseThatCome(t *testing.T) {
	l := newLaneTest(t, fault.Impairment{Delay: 5 * ms}, 1000)
	l.come(1, 0)
	l.become(fault.Impairment{Delay: 50 * ms}, 1000, l.now)
	l.come(1, 0)
	if got := ids(l.pass(5 * ms)); !slices.Equal(got, []uint32{1}) {
		t.Errorf("%v left after 5ms", got)
	}
	if got := ids(l.pass(45 * ms)); !slices.Equal(got, []uint32{2}) {
		t.Errorf("%v left after 50ms", got)
	}
}

// From one kind of fault to any other, with packets waiting from both, every
// packet leaves exactly once, and none before its time.
func TestEveryPacketLeavesOnceWhateverChanges(t *testing.T) {
	kinds := []fault.Impairment{
		{Delay: 20 * ms},
		{Delay: 3 * ms},
		{Delay: 20 * ms, Jitter: 10 * ms, Distribution: fault.Normal},
		{Delay: 5 * ms, Reorder: &fault.Reorder{Percent: fault.Hundred / 2, Gap: 1}},
		{Loss: &fault.Chance{Percent: fault.Hundred / 4}},
		{Delay: ms, Rate: &fault.Rate{BitsPerSecond: 10_000_000}},
	}
	random := rand.New(rand.NewPCG(1, 2))
	l := newLaneTest(t, kinds[0], 100_000)
	for range 2000 {
		switch random.IntN(4) {
		case 0:
			l.become(kinds[random.IntN(len(kinds))], 100_000, l.now)
		case 1:
			l.pass(time.Duration(random.IntN(10)) * ms)
		default:
			l.come(random.IntN(20), 100)
		}
	}
	l.flush(l.out)
	l.pass(0)
	seen := make(map[uint32]bool)
	for _, one := range l.left {
		if seen[one.id] {
			t.Fatalf("packet %d left twice", one.id)
		}
		seen[one.id] = true
	}
	if len(seen) != int(l.last) || len(l.held) != 0 {
		t.Errorf("%d of %d packets left, %d are held", len(seen), l.last, len(l.held))
	}
}

func TestTooManyPacketsLeaveEarly(t *testing.T) {
	for name, i := range map[string]fault.Impairment{
		"constant": {Delay: time.Second},
		"jitter":   {Delay: time.Second, Jitter: 1, Distribution: fault.Uniform},
	} {
		l := newLaneTest(t, i, 10)
		for range 15 {
			l.now++
			l.come(1, 0)
		}
		if l.waiting() != 10 || l.early != 5 || l.dropped != 0 {
			t.Errorf("%s: %d wait, %d left early, %d dropped", name, l.waiting(), l.early, l.dropped)
		}
	}
}

// Packets whose messages found no room pass, and their ids are missing.
func TestMissingIDsAreCounted(t *testing.T) {
	l := newLaneTest(t, fault.Impairment{Delay: ms}, 10)
	l.come(1, 0)
	l.last += 3
	l.come(1, 0)
	if l.early != 3 {
		t.Errorf("%d counted, want 3", l.early)
	}
	if got := ids(l.pass(ms)); !slices.Equal(got, []uint32{1, 5}) {
		t.Errorf("%v left", got)
	}
}

func TestIDsWrapRound(t *testing.T) {
	for name, i := range map[string]fault.Impairment{
		"constant": {Delay: ms},
		"jitter":   {Delay: ms, Jitter: 1, Distribution: fault.Uniform},
	} {
		l := newLaneTest(t, i, 100)
		l.last, l.newest = 0xfffffffd, 0xfffffffd
		l.come(5, 0)
		if got := l.pass(2 * ms); len(got) != 5 || l.early != 0 {
			t.Errorf("%s: %v left, %d early", name, got, l.early)
		}
	}
}

func TestARateSpacesPackets(t *testing.T) {
	// 8 Mbit/s is a byte per microsecond; 986 bytes and a header of 14 are 1 ms.
	l := newLaneTest(t, fault.Impairment{Delay: 10 * ms, Rate: &fault.Rate{BitsPerSecond: 8_000_000}}, 1000)
	l.come(3, 986)
	for n, after := range []time.Duration{11 * ms, ms, ms} {
		if got := l.pass(after - 1); len(got) != 0 {
			t.Errorf("packet %d: %v left early", n, got)
		}
		if got := ids(l.pass(1)); !slices.Equal(got, []uint32{uint32(n + 1)}) {
			t.Errorf("packet %d: %v left", n, got)
		}
	}
}

func TestTheQueueOfARateDropsWhatComesBeyond(t *testing.T) {
	rate := fault.Impairment{Rate: &fault.Rate{BitsPerSecond: 8_000_000}}
	l := newLaneTest(t, rate, limitFor(rate, 256<<20))
	l.come(1000, 1486)
	// Half a second of 1 MB/s in packets of 1500 bytes.
	if l.waiting() != 333 || l.dropped != 667 || l.early != 0 {
		t.Errorf("%d wait, %d dropped, %d early", l.waiting(), l.dropped, l.early)
	}
}

func TestLimit(t *testing.T) {
	rate := func(bits uint64) *fault.Rate { return &fault.Rate{BitsPerSecond: bits} }
	for name, c := range map[string]struct {
		i      fault.Impairment
		memory uint64
		want   uint32
	}{
		"a delay takes what there is":   {fault.Impairment{Delay: ms}, 256 << 20, 131072},
		"little memory":                 {fault.Impairment{Delay: ms}, 1 << 20, 512},
		"a slow link":                   {fault.Impairment{Rate: rate(8000)}, 256 << 20, 64},
		"a link with a delay":           {fault.Impairment{Delay: 100 * ms, Rate: rate(8_000_000)}, 256 << 20, 333 + 1562},
		"a fast link with less memory":  {fault.Impairment{Rate: rate(100_000_000_000)}, 2 << 20, 1024},
		"more memory than can be named": {fault.Impairment{Delay: ms}, 1 << 62, 1 << 24},
	} {
		if got := limitFor(c.i, c.memory); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// What a burst took is given back.
func TestMemoryIsGivenBack(t *testing.T) {
	for name, i := range map[string]fault.Impairment{
		"constant": {Delay: ms},
		"jitter":   {Delay: 2 * ms, Jitter: ms, Distribution: fault.Normal},
	} {
		l := newLaneTest(t, i, 1<<20)
		for range 2 * keptRoom {
			l.now++
			l.come(1, 0)
		}
		l.pass(time.Second)
		if len(l.ring.runs) > keptRoom || cap(l.heap) > keptRoom {
			t.Errorf("%s: room for %d runs and %d packets after all have left", name, len(l.ring.runs), cap(l.heap))
		}
	}
}

func BenchmarkLane(b *testing.B) {
	for name, i := range map[string]fault.Impairment{
		"constant": {Delay: 20 * ms},
		"jitter":   {Delay: 20 * ms, Jitter: 5 * ms, Distribution: fault.Normal},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			l := &lane{queue: 7, shape: newShape(i), limit: 1 << 20}
			out := newVerdicts(func(message) error { return nil })
			var now time.Duration
			for n := range b.N {
				now += 10 * time.Microsecond
				l.take(packet{queue: 7, id: uint32(n + 1)}, now, out)
				l.letGo(now, out)
			}
		})
	}
}
