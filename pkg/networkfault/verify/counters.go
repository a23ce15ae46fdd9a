package verify

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// Counted is a fault whose counters show whether it is as asked for: by its rate if it has
// one, and else by its loss. A full queue of a rate loses packets too, and nothing tells
// these from the others.
type Counted struct {
	// Fault is its name at the agent; empty for none.
	Fault string
	// Loss is the share of packets that are lost, each by itself; 0 with a rate.
	Loss fault.Percent
	// Rate is in bits per second, for each interface; 0 for none. Slack is how much longer
	// than the time between two readings the packets between them may have been sent.
	Rate  uint64
	Slack time.Duration
	// Arrives is whether the packets arrive at the pod, and don't leave it.
	Arrives bool
}

// newCounted returns what the counters of a fault show, and why they don't show all of it;
// neither if there is nothing to count.
func newCounted(f fault.Fault) (c Counted, why string) {
	i := f.Impairment
	c = Counted{Fault: f.Name, Arrives: f.Match.Direction != fault.Egress}
	switch {
	case i.IsCut():
		return Counted{}, "" // a handshake shows it
	case i.Rate != nil:
		c.Rate, c.Slack = i.Rate.BitsPerSecond, i.Rate.QueueTime()+2*(i.LongestDelay()-i.Delay)
		why = whyNoRate(i)
	case i.Loses():
		c.Loss, why = i.AverageLoss(), whyNoLoss(i)
	default:
		return Counted{}, uncounted(i)
	}
	if why != "" {
		return Counted{}, why
	}
	return c, uncounted(i)
}

// uncounted says what of an impairment nothing counts; "" for nothing.
func uncounted(i fault.Impairment) string {
	switch {
	case i.Duplicate != nil || i.Corrupt != nil || i.Reorder != nil:
		return "nothing counts what is duplicated, corrupted or reordered"
	case i.Rate != nil && i.Loses():
		return "nothing tells packets that are lost by chance from those that a full queue loses"
	default:
		return ""
	}
}

// whyNoRate says why counters do not show the rate of an impairment; "" if they do.
// Overheads and cells are not counted, and packets that are reordered don't wait for the link.
func whyNoRate(i fault.Impairment) string {
	if plain := (fault.Rate{BitsPerSecond: i.Rate.BitsPerSecond}); *i.Rate != plain || i.Reorder != nil {
		return "the agents' counters do not show a rate with overheads or cells, or beside reorder"
	}
	return ""
}

// whyNoLoss says why counters do not show the loss of an impairment; "" if they do. A packet
// that is to be lost and to be sent twice is sent once.
func whyNoLoss(i fault.Impairment) string {
	switch {
	case i.Loss == nil || i.Loss.Correlation > 0:
		return "the agents' counters do not show a loss in bursts, or with a correlation: its share varies too much"
	case i.Duplicate != nil:
		return "the agents' counters do not show a loss beside duplicate"
	default:
		return ""
	}
}

// Reading is what an agent said of a fault's counters, at some moment between two.
type Reading struct {
	Began, Ended time.Time
	Engine       string
	// Devices is how many interfaces the fault is on.
	Devices  int
	Counters api.Counters
}

// Reading returns the counters of the fault from an agent's answer; false if its kernel does
// not hold the fault.
func (c *Counted) Reading(s api.Status, began, ended time.Time) (Reading, bool) {
	devices := 0
	for _, d := range s.Devices {
		if !d.Missing {
			devices++
		}
	}
	for _, f := range s.Faults {
		if f.Name == c.Fault && f.Held {
			return Reading{Began: began, Ended: ended, Engine: s.Engine, Devices: devices, Counters: f.Counters}, true
		}
	}
	return Reading{}, false
}

// follows reports whether the counters of a reading can have gone on from those of another.
func (r *Reading) follows(before *Reading) bool {
	return r.Engine == before.Engine && r.Counters.Packets >= before.Counters.Packets &&
		r.Counters.Bytes >= before.Counters.Bytes && r.Counters.Dropped >= before.Counters.Dropped
}

// Judge compares two readings; before is nil for none. It returns the one that the next is to
// be compared with: that of before while a loss can't be told yet, and else the new one.
func (c *Counted) Judge(before *Reading, now Reading) (Judgement, *Reading) {
	switch {
	case before == nil || !now.follows(before):
		return Judgement{Outcome: Begun}, &now
	case c.Rate > 0:
		return c.judgeRate(before, now), &now
	}
	j := c.judgeLoss(before, now)
	if j.Outcome == Few || j.Outcome == Unclear {
		return j, before
	}
	return j, &now
}

// leastSegment is how many bytes a packet of a large segment that leaves has at least, but
// for the last one: less than any MTU of a pod leaves to TCP.
const leastSegment = 1000

// judgeLoss compares the share of lost packets with what is asked for. Each packet that an
// engine gets is lost by itself. With netem a large segment is one such packet, and counts as
// one if it is lost, and else as the packets that it becomes: there are fewer chances than
// packets, and how many is known within bounds only.
func (c *Counted) judgeLoss(before *Reading, now Reading) Judgement {
	lost, met := now.Counters.Dropped-before.Counters.Dropped, now.Counters.Packets-before.Counters.Packets
	least := met
	if now.Engine == api.EngineNetem {
		met = uint64(max(0, int64(met+lost+now.Counters.Backlog-before.Counters.Backlog)))
		least = met - min(met, (now.Counters.Bytes-before.Counters.Bytes)/leastSegment)
		if c.Arrives {
			least = 0 // segments were put together of packets of any size
		}
	}
	p := float64(c.Loss) / float64(fault.Hundred)
	lostShare := fmt.Sprintf("lost %s of %d packets, ", percent(float64(lost)/max(1, float64(met))), met)
	j := Judgement{Outcome: InTolerance, Off: math.Abs(float64(lost)/max(1, float64(met))/p - 1)}
	switch {
	case met < packetsToTell(p):
		j.Outcome = Few
		j.Why = fmt.Sprintf("%d packets met it in %s, and it takes %d to tell a loss of %s",
			met, now.Ended.Sub(before.Began).Round(time.Second), packetsToTell(p), percent(p))
	case float64(lost) > mean(p, met)+tolerance(p, met):
		j.Outcome, j.Why = LostMore, lostShare+percent(p)+" is asked for"
	case float64(lost) < mean(p, least)-tolerance(p, least):
		j.Outcome, j.Why = LostLess, lostShare+percent(p)+" is asked for"
	case !tells(p, met, least):
		j.Outcome = Unclear
		j.Why = lostShare + "of which many may be parts of large segments: netem loses such a segment as one packet"
	}
	return j
}

// sigmas is how many standard deviations of chance are allowed.
const sigmas = 4

// mean is how many of n packets are lost with the chance p, and tolerance by how much more or
// less may be.
func mean(p float64, n uint64) float64 { return p * float64(n) }

func tolerance(p float64, n uint64) float64 { return sigmas * math.Sqrt(p*(1-p)*float64(n)) }

// tells reports whether so many packets tell a chance from twice it: what is allowed of the
// one is not allowed of the other. Then it is told from none too. There are most chances at
// most, and least at least.
func tells(p float64, most, least uint64) bool {
	twice := min(1, 2*p)
	return mean(p, most)+tolerance(p, most) < mean(twice, least)-tolerance(twice, least)
}

// packetsToTell is how many packets tell a chance from twice it: the least for which tells is true.
func packetsToTell(p float64) uint64 {
	twice := min(1, 2*p)
	root := sigmas * (math.Sqrt(p*(1-p)) + math.Sqrt(twice*(1-twice))) / (twice - p)
	return uint64(root*root) + 1
}

// judgeRate compares what passed with the rate. That less passed proves nothing, unless it is
// of the order of the rate. With nfqueue it is known only what came, and not how much of it
// was lost.
func (c *Counted) judgeRate(before *Reading, now Reading) Judgement {
	const most = 1.05 // of the rate
	bits, longest := 8*float64(now.Counters.Bytes-before.Counters.Bytes), max(now.Ended.Sub(before.Began), time.Millisecond)
	rate, links := float64(c.Rate), float64(max(1, now.Devices))
	passed, asked := fault.FormatRate(uint64(bits/longest.Seconds()/1000)*1000), fault.FormatRate(c.Rate)
	j := Judgement{Outcome: InTolerance, Off: math.Abs(bits/longest.Seconds()/rate - 1)}
	isMore := bits > most*rate*links*(longest+c.Slack).Seconds()
	switch {
	case isMore && now.Engine == api.EngineNFQueue && now.Counters.Dropped > before.Counters.Dropped:
		j.Outcome, j.Why = Unclear, passed+" came to a rate of "+asked+", and with nfqueue it is not counted how much of it passed"
	case isMore:
		j.Outcome, j.Why = Faster, "passed "+passed+", "+asked+" is asked for"
	case bits < rate*longest.Seconds()/2:
		j.Outcome, j.Why = Few, passed+" came in "+longest.Round(time.Second).String()+", too little to tell a rate of "+asked
	}
	return j
}

// percent words a share with three digits: "3.1 %".
func percent(share float64) string {
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(100*share, 'g', 3, 64), 64)
	return strconv.FormatFloat(rounded, 'f', -1, 64) + " %"
}
