package verify_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/verify"
)

// reading is what an engine has counted after some seconds.
func reading(engine string, after int, c api.Counters) verify.Reading {
	at := time.Date(2030, 1, 1, 0, 0, after, 0, time.UTC)
	return verify.Reading{Began: at, Ended: at.Add(time.Second), Engine: engine, Devices: 1, Counters: c}
}

// Between two readings are 9 s at most.
func TestCounters(t *testing.T) {
	const netem, nfqueue = api.EngineNetem, api.EngineNFQueue
	one := verify.Counted{Fault: "lossy", Loss: fault.Hundred / 100}
	arriving := one
	arriving.Arrives = true
	half := verify.Counted{Fault: "lossy", Loss: fault.Hundred / 2}
	eight := verify.Counted{Fault: "thin", Rate: 8e6, Slack: time.Second}
	for name, test := range map[string]struct {
		counted verify.Counted
		engine  string
		more    api.Counters
		want    verify.Outcome
		why     string
	}{
		"right":                  {one, nfqueue, api.Counters{Packets: 10000, Dropped: 100}, verify.InTolerance, ""},
		"a little more":          {one, nfqueue, api.Counters{Packets: 10000, Dropped: 139}, verify.InTolerance, ""},
		"more":                   {one, nfqueue, api.Counters{Packets: 12000, Dropped: 372}, verify.LostMore, "lost 3.1 % of 12000 packets, 1 % is asked for"},
		"a little less":          {one, nfqueue, api.Counters{Packets: 10000, Dropped: 61}, verify.InTolerance, ""},
		"less":                   {one, nfqueue, api.Counters{Packets: 10000, Dropped: 59}, verify.LostLess, "lost 0.59 % of 10000 packets"},
		"none":                   {one, nfqueue, api.Counters{Packets: 10000}, verify.LostLess, "lost 0 % of 10000 packets"},
		"few":                    {one, nfqueue, api.Counters{Packets: 412, Dropped: 400}, verify.Few, "412 packets met it in 9s, and it takes 9178 to tell a loss of 1 %"},
		"nobody":                 {one, netem, api.Counters{}, verify.Few, "0 packets"},
		"half":                   {half, nfqueue, api.Counters{Packets: 100, Dropped: 50}, verify.InTolerance, ""},
		"half is all":            {half, nfqueue, api.Counters{Packets: 100, Dropped: 100}, verify.LostMore, "lost 100 %"},
		"netem":                  {one, netem, api.Counters{Packets: 19800, Bytes: 2e6, Dropped: 200}, verify.InTolerance, ""},
		"netem, waiting":         {one, netem, api.Counters{Packets: 9000, Bytes: 9e5, Dropped: 200, Backlog: 10800}, verify.InTolerance, ""},
		"netem, more":            {one, netem, api.Counters{Packets: 19800, Bytes: 28e6, Dropped: 400}, verify.LostMore, "lost 1.98 % of 20200 packets"},
		"netem, less":            {one, netem, api.Counters{Packets: 20000, Bytes: 2e6}, verify.LostLess, "lost 0 %"},
		"netem, large segments":  {one, netem, api.Counters{Packets: 20000, Bytes: 28e6, Dropped: 20}, verify.Unclear, "large segments"},
		"netem, some are large":  {one, netem, api.Counters{Packets: 19800, Bytes: 12e6, Dropped: 200}, verify.Unclear, "large segments"},
		"netem, far too little":  {one, netem, api.Counters{Packets: 1e6, Bytes: 9e8}, verify.LostLess, "lost 0 %"},
		"netem, arriving":        {arriving, netem, api.Counters{Packets: 20000, Bytes: 2e6}, verify.Unclear, "large segments"},
		"nfqueue, arriving":      {arriving, nfqueue, api.Counters{Packets: 20000, Bytes: 2e6}, verify.LostLess, ""},
		"rate":                   {eight, netem, api.Counters{Bytes: 8e6, Dropped: 9}, verify.InTolerance, ""},
		"half of a rate":         {eight, netem, api.Counters{Bytes: 46e5}, verify.InTolerance, ""},
		"less than that":         {eight, netem, api.Counters{Bytes: 44e5}, verify.Few, "3.911mbit came in 9s, too little to tell a rate of 8mbit"},
		"idle":                   {eight, nfqueue, api.Counters{}, verify.Few, "0bit came"},
		"a rate and what waited": {eight, netem, api.Counters{Bytes: 104e5}, verify.InTolerance, ""},
		"more than a rate":       {eight, netem, api.Counters{Bytes: 106e5, Dropped: 9}, verify.Faster, "passed 9.422mbit, 8mbit is asked for"},
		"nfqueue lets all pass":  {eight, nfqueue, api.Counters{Bytes: 106e5}, verify.Faster, ""},
		"nfqueue loses some":     {eight, nfqueue, api.Counters{Bytes: 106e5, Dropped: 9}, verify.Unclear, "9.422mbit came to a rate of 8mbit"},
	} {
		t.Run(name, func(t *testing.T) {
			first := api.Counters{Packets: 7, Bytes: 700, Dropped: 3, Backlog: 0}
			before, now := reading(test.engine, 0, first), reading(test.engine, 8, first.Add(test.more))
			got, next := test.counted.Judge(&before, now)
			if got.Outcome != test.want || !strings.Contains(got.Why, test.why) {
				t.Errorf("%+v, want %s, %q", got, test.want, test.why)
			}
			isKept := test.counted.Loss > 0 && (got.Outcome == verify.Few || got.Outcome == verify.Unclear)
			if isKept != (*next == before) {
				t.Errorf("the next is compared with %+v", next)
			}
			if (got.Outcome == verify.InTolerance) != (got.Why == "") {
				t.Errorf("says %q", got.Why)
			}
		})
	}
}

// Counters that went back, or that another engine has, are compared with nothing.
func TestCountersBeginAnew(t *testing.T) {
	c := verify.Counted{Fault: "lossy", Loss: fault.Hundred / 100}
	before := reading(api.EngineNetem, 0, api.Counters{Packets: 5, Bytes: 500, Dropped: 5})
	for name, now := range map[string]verify.Reading{
		"packets": reading(api.EngineNetem, 8, api.Counters{Packets: 4, Bytes: 500, Dropped: 500}),
		"bytes":   reading(api.EngineNetem, 8, api.Counters{Packets: 99999, Bytes: 400, Dropped: 5}),
		"dropped": reading(api.EngineNetem, 8, api.Counters{Packets: 99999, Bytes: 500, Dropped: 4}),
		"engine":  reading(api.EngineNFQueue, 8, api.Counters{Packets: 99999, Bytes: 500, Dropped: 5}),
	} {
		if got, next := c.Judge(&before, now); got.Outcome != verify.Begun || *next != now {
			t.Errorf("%s: %+v, the next is compared with %+v", name, got, next)
		}
	}
	if got, next := c.Judge(nil, before); got.Outcome != verify.Begun || *next != before {
		t.Errorf("the first: %+v, %+v", got, next)
	}
}

// A rate is that of each interface.
func TestRateOfTwoInterfaces(t *testing.T) {
	c := verify.Counted{Fault: "thin", Rate: 8e6, Slack: time.Second}
	before := reading(api.EngineNetem, 0, api.Counters{})
	for bytes, want := range map[uint64]verify.Outcome{5e6: verify.InTolerance, 16e6: verify.InTolerance, 22e6: verify.Faster} {
		now := reading(api.EngineNetem, 8, api.Counters{Bytes: bytes})
		now.Devices = 2
		if got, _ := c.Judge(&before, now); got.Outcome != want {
			t.Errorf("%d bytes: %+v, want %s", bytes, got, want)
		}
	}
}

// What is asked for is right, and neither twice of it nor nothing is, as soon as anything is
// said.
func TestChance(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, loss := range []fault.Percent{1_000, 10_000, 70_000, 300_000, 450_000} {
		c := verify.Counted{Fault: "lossy", Loss: loss}
		for _, test := range []struct {
			times int
			want  verify.Outcome
		}{{0, verify.LostLess}, {1, verify.InTolerance}, {2, verify.LostMore}} {
			for range 20 {
				before, now := reading(api.EngineNFQueue, 0, api.Counters{}), reading(api.EngineNFQueue, 8, api.Counters{})
				outcome := verify.Few
				for outcome == verify.Few {
					for range 100 {
						now.Counters.Packets++
						if random.IntN(int(fault.Hundred)) < int(loss)*test.times {
							now.Counters.Dropped++
						}
					}
					j, _ := c.Judge(&before, now)
					outcome = j.Outcome
				}
				if outcome != test.want {
					t.Errorf("%s of %d times that: %s after %+v", loss, test.times, outcome, now.Counters)
				}
			}
		}
	}
}

// The reading of a fault is its own, if the kernel holds it.
func TestReading(t *testing.T) {
	c := verify.Counted{Fault: "b"}
	status := api.Status{
		Engine: api.EngineNetem, Devices: []api.Device{{Name: "eth0"}, {Name: "net1", Missing: true}, {Name: "net2"}},
		Faults: []api.FaultStatus{{Fault: api.Fault{Name: "a"}, Held: true}, {Fault: api.Fault{Name: "b"}, Held: true, Counters: api.Counters{Packets: 7}}},
	}
	if got, ok := c.Reading(status, time.Time{}, time.Time{}); !ok || got.Counters.Packets != 7 || got.Devices != 2 || got.Engine != api.EngineNetem {
		t.Errorf("%+v, %t", got, ok)
	}
	status.Faults[1].Held = false
	if got, ok := c.Reading(status, time.Time{}, time.Time{}); ok {
		t.Errorf("of a fault that is not held: %+v", got)
	}
}
