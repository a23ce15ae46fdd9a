package netem

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/tidelay/tidelay/pkg/fault"
)

// String writes a setting as tc's words after "netem".
func (s setting) String() string {
	return strings.TrimRight(fmt.Sprintf("limit %d %s", s.limit, s.impairment()), " ")
}

// impairment is String without the limit. tc has no word for a uniform
// distribution; it is the kernel's own.
func (s setting) impairment() string {
	var w []string
	add := func(format string, args ...any) { w = append(w, fmt.Sprintf(format, args...)) }
	if s.delay > 0 || s.jitter > 0 {
		add("delay %s", fault.FormatDelay(s.delay))
	}
	if s.jitter > 0 {
		add("%s", fault.FormatDelay(s.jitter)+correlationWord(s.delayCorrelation))
		if s.distribution != "" && s.distribution != fault.Uniform {
			add("distribution %s", s.distribution)
		}
	}
	switch p := s.parameters; s.model {
	case lossGilbertElliott:
		add("loss gemodel %s %s %s %s", percentWord(p[0]), percentWord(p[1]), percentWord(math.MaxUint32-p[2]), percentWord(p[3]))
	case lossFourState:
		add("loss state %s %s %s %s %s", percentWord(p[0]), percentWord(p[1]), percentWord(p[2]), percentWord(p[4]), percentWord(p[3]))
	case lossRandom:
		if s.loss > 0 {
			add("loss %s", percentWord(s.loss)+correlationWord(s.lossCorrelation))
		}
	}
	for _, chance := range []struct {
		word                 string
		percent, correlation uint32
	}{{"duplicate", s.duplicate, s.duplicateCorrelation}, {"corrupt", s.corrupt, s.corruptCorrelation}, {"reorder", s.reorder, s.reorderCorrelation}} {
		if chance.percent > 0 {
			add("%s %s", chance.word, percentWord(chance.percent)+correlationWord(chance.correlation))
		}
	}
	if s.gap > 1 {
		add("gap %d", s.gap)
	}
	if s.rate > 0 {
		add("rate %s", s.rateWords())
	}
	if s.seeded {
		add("seed %d", s.seed)
	}
	return strings.Join(w, " ")
}

// rateWords leaves out the overheads that are zero to the end.
func (s setting) rateWords() string {
	text := fault.FormatRate(s.rate * 8)
	switch {
	case s.cellSize != 0:
		text += fmt.Sprintf(" %d %d %d", s.packetOverhead, s.cellSize, s.cellOverhead)
	case s.packetOverhead != 0:
		text += fmt.Sprintf(" %d", s.packetOverhead)
	}
	return text
}

// percentWord writes a probability with the decimals that a user can have
// asked for.
func percentWord(p uint32) string {
	const digits = 10_000
	return strconv.FormatFloat(math.Round(float64(p)/math.MaxUint32*100*digits)/digits, 'f', -1, 64) + "%"
}

func correlationWord(p uint32) string {
	if p == 0 {
		return ""
	}
	return " " + percentWord(p)
}

// Equivalent returns the single command that comes closest to a fault, as if
// it matched everything: "tc qdisc replace dev eth0 root netem delay 20ms". It
// leaves out the limit that the agent computes and, for ingress, how packets
// come to an ifb.
func Equivalent(device string, f fault.Fault) string {
	if f.Match.Direction == fault.Ingress {
		device = "ifb0"
	}
	return "tc qdisc replace dev " + device + " root netem " + settingFor(f.Impairment, 0).impairment()
}
