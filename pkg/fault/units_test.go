package fault_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

func TestParseRate(t *testing.T) {
	for in, want := range map[string]uint64{
		"8kbit":           8_000,
		"8000bit":         8_000,
		"8001bit":         8_000, // whole bytes
		"8007.999bit":     8_000,
		"1mbit":           1_000_000,
		"1.5gbit":         1_500_000_000,
		"0.5mbit":         500_000,
		"100gbit":         100_000_000_000,
		"100000000000bit": 100_000_000_000,
		"010mbit":         10_000_000,
	} {
		if got, err := fault.ParseRate(in); err != nil || got != want {
			t.Errorf("ParseRate(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "0bit", "0", "8000", "7.999kbit", "100.000000001gbit", "-1mbit", "+1mbit", "1Mbit", "1mbps", "1mbit/s", "1 mbit", "1tbit", "1e3kbit",
		".5mbit", "5.mbit", "NaNbit", "infbit", "1mbit\n", strings.Repeat("0", 40) + "1mbit", strings.Repeat("9", 1<<20) + "bit",
	} {
		if got, err := fault.ParseRate(in); err == nil {
			t.Errorf("ParseRate(%.40q) = %d, want an error", in, got)
		}
	}
}

func TestRateRoundTrip(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		// Every magnitude alike.
		bits := uint64(math.Exp(random.Float64()*math.Log(fault.MaxRate/fault.MinRate))*fault.MinRate) / 8 * 8
		if again, err := fault.ParseRate(fault.FormatRate(bits)); err != nil || again != bits {
			t.Fatalf("%d is written %q, which parses to %d, %v", bits, fault.FormatRate(bits), again, err)
		}
	}
	for bits, want := range map[uint64]string{0: "0bit", 8_000: "8kbit", 999_992: "999.992kbit", 1_000_000: "1mbit", 1_500_000_000: "1.5gbit", 99_999_999_992: "99.999999992gbit"} {
		if got := fault.FormatRate(bits); got != want {
			t.Errorf("FormatRate(%d) = %q, want %q", bits, got, want)
		}
	}
}

func TestParsePercent(t *testing.T) {
	for in, want := range map[float64]fault.Percent{0: 0, 0.0001: 1, 0.1: 1_000, 33.3333: 333_333, 99.9999: 999_999, 100: fault.Hundred, math.Copysign(0, -1): 0} {
		if got, err := fault.ParsePercent(in); err != nil || got != want {
			t.Errorf("ParsePercent(%v) = %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []float64{-0.0001, 100.0001, 1e300, 0.00001, 0.00005, 33.33333, 1e-7, 1e-11, math.SmallestNonzeroFloat64, math.NaN(), math.Inf(1), math.Inf(-1)} {
		if got, err := fault.ParsePercent(in); err == nil {
			t.Errorf("ParsePercent(%v) = %d, want an error", in, got)
		}
	}
	for p := fault.Percent(0); p <= fault.Hundred; p++ {
		if again, err := fault.ParsePercent(p.Float()); err != nil || again != p {
			t.Fatalf("%s parses to %d, %v; want %d", p, again, err, p)
		}
	}
	if got := fault.Percent(123_400).String(); got != "12.34%" {
		t.Errorf("12.34%% is written %q", got)
	}
}

func TestPercentOf(t *testing.T) {
	for _, most := range []uint64{0, 1, 100, math.MaxUint32, math.MaxUint64} {
		if got := fault.Percent(0).Of(most); got != 0 {
			t.Errorf("0%% of %d = %d", most, got)
		}
		if got := fault.Hundred.Of(most); got != most {
			t.Errorf("100%% of %d = %d", most, got)
		}
		previous := uint64(0)
		for p := fault.Percent(0); p <= fault.Hundred; p += 997 {
			got := p.Of(most)
			if got < previous || got > most {
				t.Fatalf("%s of %d = %d, after %d", p, most, got, previous)
			}
			previous = got
		}
	}
	// Half of an odd number rounds up, as everywhere.
	if got := (fault.Hundred / 2).Of(math.MaxUint32); got != 1<<31 {
		t.Errorf("50%% of 2^32-1 = %d", got)
	}
	if got := fault.Percent(1).Of(math.MaxUint32); got != 4295 { // 4294.97
		t.Errorf("0.0001%% of 2^32-1 = %d", got)
	}
}

func TestParseDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{"1s": time.Second, "90s": 90 * time.Second, "1h30m": 90 * time.Minute, "720h": fault.MaxDuration, "1.5s": 1500 * time.Millisecond} {
		if got, err := fault.ParseDuration(in); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "0", "0s", "1", "999ms", "-1s", "720h0m1ns", "1d", "1 h", "inf", strings.Repeat("1h", 20), strings.Repeat("9", 1<<20) + "h"} {
		if got, err := fault.ParseDuration(in); err == nil {
			t.Errorf("ParseDuration(%.40q) = %v, want an error", in, got)
		}
	}
}

func FuzzParseRate(f *testing.F) {
	for _, seed := range []string{"", "0bit", "8kbit", "8001bit", "1.5gbit", "100gbit", "100.000000001gbit", "0.000000001gbit", "-1mbit", "1e3kbit", "10mbit/s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		bits, err := fault.ParseRate(in)
		if err != nil {
			return
		}
		if bits < fault.MinRate || bits > fault.MaxRate || bits%8 != 0 {
			t.Fatalf("ParseRate(%q) = %d, out of bounds or no whole bytes", in, bits)
		}
		if again, err := fault.ParseRate(fault.FormatRate(bits)); err != nil || again != bits {
			t.Fatalf("%q parses to %d, which is written %q and parses to %d, %v", in, bits, fault.FormatRate(bits), again, err)
		}
	})
}
