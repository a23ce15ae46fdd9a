package netem

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/tidelay/tidelay/pkg/fault"
)

// String writes a setting as the options of tc's netem.
func (s setting) String() string {
	return strings.TrimRight(fmt.Sprintf("limit %d %s", s.limit, s.impairment()), " ")
}

// impairment is String without the limit. tc has no word for the uniform
// distribution, which the kernel uses if it has no table.
func (s setting) impairment() string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if s.delay > 0 || s.jitter > 0 {
		add("delay %s", fault.FormatDelay(s.delay))
	}
	if s.jitter > 0 {
		add("%s", fault.FormatDelay(s.jitter)+tcCorrelation(s.delayCorrelation))
		if s.distribution != "" && s.distribution != fault.Uniform {
			add("distribution %s", s.distribution)
		}
	}
	switch p := s.parameters; s.model {
	case lossGilbertElliott:
		add("loss gemodel %s %s %s %s", tcPercent(p[0]), tcPercent(p[1]), tcPercent(math.MaxUint32-p[2]), tcPercent(p[3]))
	case lossFourState:
		add("loss state %s %s %s %s %s", tcPercent(p[0]), tcPercent(p[1]), tcPercent(p[2]), tcPercent(p[4]), tcPercent(p[3]))
	case lossRandom:
		if s.loss > 0 {
			add("loss %s", tcPercent(s.loss)+tcCorrelation(s.lossCorrelation))
		}
	}
	for _, chance := range []struct {
		word                 string
		percent, correlation uint32
	}{{"duplicate", s.duplicate, s.duplicateCorrelation}, {"corrupt", s.corrupt, s.corruptCorrelation}, {"reorder", s.reorder, s.reorderCorrelation}} {
		if chance.percent > 0 {
			add("%s %s", chance.word, tcPercent(chance.percent)+tcCorrelation(chance.correlation))
		}
	}
	if s.gap > 1 {
		add("gap %d", s.gap)
	}
	if s.rate > 0 {
		add("rate %s", s.tcRate())
	}
	if s.seeded {
		add("seed %d", s.seed)
	}
	return strings.Join(parts, " ")
}

// tcRate writes the rate. Of the overheads it leaves out those at the end that
// are zero.
func (s setting) tcRate() string {
	text := fault.FormatRate(s.rate * 8)
	switch {
	case s.cellSize != 0:
		text += fmt.Sprintf(" %d %d %d", s.packetOverhead, s.cellSize, s.cellOverhead)
	case s.packetOverhead != 0:
		text += fmt.Sprintf(" %d", s.packetOverhead)
	}
	return text
}

// tcPercent writes a probability with four decimals, which is what a user can
// ask for.
func tcPercent(p uint32) string {
	const digits = 10_000
	return strconv.FormatFloat(math.Round(float64(p)/math.MaxUint32*100*digits)/digits, 'f', -1, 64) + "%"
}

// tcCorrelation writes a correlation after a space, or nothing for zero.
func tcCorrelation(p uint32) string {
	if p == 0 {
		return ""
	}
	return " " + tcPercent(p)
}

// Equivalent returns the single command that comes closest to a fault, as if it
// matched all packets: "tc qdisc replace dev eth0 root netem delay 20ms". The
// limit that the agent computes is not in it. For ingress it is about an ifb,
// without the commands that redirect packets there.
func Equivalent(device string, f fault.Fault) string {
	if f.Match.Direction == fault.Ingress {
		device = "ifb0"
	}
	return "tc qdisc replace dev " + device + " root netem " + settingFor(f.Impairment, 0).impairment()
}
