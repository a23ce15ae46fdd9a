package fault

import (
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// Percent is a probability in ten-thousandths of a percent, from 0 to Hundred.
type Percent uint32

const (
	// Hundred is 100 percent.
	Hundred Percent = 1_000_000
	// percentDigit is one percent.
	percentDigit = 10_000
)

// percentAccepted ends every message about a bad percentage.
const percentAccepted = "want a percentage from 0 to 100 with at most four decimals"

// ParsePercent converts a number of percents, from 0 to 100. It refuses more than
// four decimals.
func ParsePercent(f float64) (Percent, error) {
	scaled := math.Round(f * percentDigit)
	if math.IsNaN(f) || f < 0 || f > 100 || math.Abs(f*percentDigit-scaled) > 1e-6 || f > 0 && scaled == 0 {
		return 0, fmt.Errorf("%s", percentAccepted)
	}
	return Percent(scaled), nil
}

// Float returns the number of percents.
func (p Percent) Float() float64 { return float64(p) / percentDigit }

// Of returns the probability scaled to 0..most, rounded to the nearest integer.
// The unit of the kernel's netem is Of(math.MaxUint32).
func (p Percent) Of(most uint64) uint64 {
	whole := new(big.Int).SetUint64(most)
	whole.Mul(whole, big.NewInt(int64(p)))
	whole.Add(whole, big.NewInt(int64(Hundred)/2))
	return whole.Div(whole, big.NewInt(int64(Hundred))).Uint64()
}

// String returns the number of percents, as in "0.5%".
func (p Percent) String() string { return strconv.FormatFloat(p.Float(), 'f', -1, 64) + "%" }

// Bounds of a rate, in bits per second.
const (
	MinRate = 8_000
	MaxRate = 100_000_000_000
)

const rateAccepted = `want a number with the unit bit, kbit, mbit or gbit per second ("800kbit", "10mbit", "1.5gbit"), from 8kbit to 100gbit`

var ratePattern = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)(bit|kbit|mbit|gbit)$`)

// rateUnit is a unit of bits per second; all are decimal, as in tc(8).
type rateUnit struct {
	name string
	bits uint64
}

// rateUnits are in order from the largest.
func rateUnits() []rateUnit {
	return []rateUnit{{"gbit", 1e9}, {"mbit", 1e6}, {"kbit", 1e3}, {"bit", 1}}
}

// ParseRate reads a rate with its unit and returns bits per second, from MinRate
// to MaxRate. The unit is required, because programs disagree on the meaning of
// a bare number. The rate is rounded down to whole bytes per second, the unit of
// the kernel's netem (tc_netem_rate).
func ParseRate(s string) (uint64, error) {
	match := ratePattern.FindStringSubmatch(s)
	if match == nil || len(s) > api.MaxEcho {
		return 0, fmt.Errorf("%s", rateAccepted)
	}
	number, _ := new(big.Rat).SetString(match[1])
	for _, unit := range rateUnits() {
		if unit.name == match[2] {
			number.Mul(number, new(big.Rat).SetInt(new(big.Int).SetUint64(unit.bits)))
		}
	}
	if number.Cmp(new(big.Rat).SetInt64(MinRate)) < 0 || number.Cmp(new(big.Rat).SetInt64(MaxRate)) > 0 {
		return 0, fmt.Errorf("%s", rateAccepted)
	}
	bits := new(big.Int).Div(number.Num(), number.Denom()).Uint64()
	return bits / 8 * 8, nil
}

// FormatRate writes bits per second exactly, as ParseRate reads it, in the
// largest unit of which there is at least one: "1.5gbit", "800kbit".
func FormatRate(bits uint64) string {
	for _, unit := range rateUnits() {
		if bits >= unit.bits {
			number := new(big.Rat).SetFrac(new(big.Int).SetUint64(bits), new(big.Int).SetUint64(unit.bits))
			return strings.TrimRight(strings.TrimRight(number.FloatString(9), "0"), ".") + unit.name
		}
	}
	return "0bit"
}

// Bounds of how long a fault lasts.
const (
	MinDuration = api.MinDuration
	MaxDuration = api.MaxDuration
)

const durationAccepted = `want how long the fault lasts, with units ("90s", "10m", "1h30m"), from 1s to 720h`

// ParseDuration reads how long a fault lasts, as time.ParseDuration does, from
// MinDuration to MaxDuration.
func ParseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || len(s) > api.MaxEcho || d < MinDuration || d > MaxDuration {
		return 0, fmt.Errorf("%s", durationAccepted)
	}
	return d, nil
}
