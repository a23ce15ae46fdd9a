//go:build linux

package nfqueue

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

func TestBacklogOf(t *testing.T) {
	zeros := strings.Repeat("00000000 ", 10)
	two := "01b7f48a " + zeros + "000003e8 00000000 00000000 00000000\n01ea4e6d " + zeros + "00000010 0000000b\n"
	for _, c := range []struct {
		text    string
		cpu     uint32
		packets uint32
		known   bool
	}{
		{two, 0, 1000, true},
		{two, 11, 16, true},
		{two, 1, 0, false},
		{"01b7f48a " + zeros + "\n", 0, 0, false}, // before Linux 5.10
		{"01b7f48a " + zeros + "x 00000000\n", 0, 0, false},
		{"01b7f48a " + zeros + "00000001 x\n", 0, 0, false},
		{"", 0, 0, false},
	} {
		if packets, known := backlogOf(c.cpu, []byte(c.text)); packets != c.packets || known != c.known {
			t.Errorf("CPU %d has %d packets, %t in\n%s", c.cpu, packets, known, c.text)
		}
	}
}

func TestThisKernelTellsItsBacklog(t *testing.T) {
	if _, known := new(socket).backlog(); !known {
		t.Error("the backlog is not known")
	}
}

// What is due at once leaves in steps, and the next one waits until the kernel has
// passed on the one before, but not for ever.
func TestReleasesInSteps(t *testing.T) {
	const count = 2000
	for name, i := range map[string]fault.Impairment{
		"constant": {Delay: time.Hour},
		"jitter":   {Delay: time.Hour, Jitter: time.Minute, Distribution: fault.Uniform},
	} {
		for _, c := range []struct {
			kernel string
			fakeKernel
			wait time.Duration // for the second step
		}{
			{"idle", fakeKernel{}, 0},
			{"little waits", fakeKernel{jam: stepSize}, 0},
			{"much waits", fakeKernel{jam: stepSize + 1}, longestPause},
			{"reticent", fakeKernel{reticent: true}, blindPause},
		} {
			t.Run(name+", "+c.kernel, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s, k := newTestScheduler(t, map[uint16]fault.Impairment{1: i})
					k.jam, k.reticent = c.jam, c.reticent
					k.arrive(1, count)
					for len(k.unread) > 0 {
						process(t, s)
					}
					if err := s.configure(1, fault.Impairment{}, testMemory); err != nil {
						t.Fatal(err)
					}
					var steps []int
					start := time.Now()
					for second := false; len(k.left[1]) < count; {
						before := len(k.left[1])
						wait := process(t, s)
						if step := len(k.left[1]) - before; step > 0 {
							steps = append(steps, step)
							if took := time.Since(start); second && took < c.wait || len(steps) == 2 && took > c.wait+backlogPause {
								t.Fatalf("step %d after %s, want one after %s", len(steps), took, c.wait)
							}
							second = true
						}
						if wait != forever {
							time.Sleep(wait)
						}
					}
					if most := slices.Max(steps); most > stepSize {
						t.Errorf("%d packets in one step", most)
					}
				})
			})
		}
	}
}

// A step also ends when its packets became due one batch after the other.
func TestStepsGoOnOverBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := newTestScheduler(t, map[uint16]fault.Impairment{1: {}})
		k.jam = stepSize + 1
		var left []int
		for range 4 {
			k.arrive(1, batchSize)
			process(t, s)
			left = append(left, len(k.left[1]))
		}
		if want := []int{batchSize, stepSize, stepSize, stepSize}; !slices.Equal(left, want) {
			t.Errorf("%v packets have left after each batch, want %v", left, want)
		}
		k.jam = 0
		process(t, s)
		if got := len(k.left[1]); got != 4*batchSize {
			t.Errorf("%d packets have left when the kernel has passed them on, want all", got)
		}
	})
}

// The end of a queue waits for the kernel too, after each step.
func TestEndsReleaseInSteps(t *testing.T) {
	const steps = 10
	for jam, want := range map[uint32]time.Duration{stepSize: 0, stepSize + 1: (steps - 1) * longestPause} {
		synctest.Test(t, func(t *testing.T) {
			s, k := newTestScheduler(t, map[uint16]fault.Impairment{1: {Delay: time.Hour}})
			k.jam = jam
			k.arrive(1, steps*stepSize)
			start := time.Now()
			if err := s.unbind(1); err != nil {
				t.Fatal(err)
			}
			if got := len(k.left[1]); got != steps*stepSize {
				t.Errorf("%d of %d packets left", got, steps*stepSize)
			}
			if took := time.Since(start); took < want || took > want+steps*backlogPause {
				t.Errorf("took %s with %d packets in the backlog, want %s", took, jam, want)
			}
		})
	}
}
