package fault_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

func TestParseDelay(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"20ms":       20 * time.Millisecond,
		"20":         20 * time.Millisecond,
		"0.5ms":      500 * time.Microsecond,
		"0.5":        500 * time.Microsecond,
		"1.5ms":      1500 * time.Microsecond,
		"500us":      500 * time.Microsecond,
		"1us":        time.Microsecond,
		"1.001us":    1001,
		"1s":         time.Second,
		"0.25s":      250 * time.Millisecond,
		"600s":       10 * time.Minute,
		"600000":     10 * time.Minute,
		"0":          0,
		"0ms":        0,
		"0.000s":     0,
		"007ms":      7 * time.Millisecond,
		"20.000ms":   20 * time.Millisecond,
		"0.000001s":  time.Microsecond,
		"1.0000000s": time.Second,
	} {
		if got, err := fault.ParseDelay(in); err != nil || got != want {
			t.Errorf("ParseDelay(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
}

func TestParseDelayRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"empty":              "",
		"a space":            " ",
		"a word":             "abc",
		"a sign":             "-5ms",
		"a plus":             "+5ms",
		"another case":       "1S",
		"another unit":       "1m",
		"nanoseconds":        "500ns",
		"two terms":          "1s500ms",
		"tc's own arguments": "20ms loss 50%",
		"a space inside":     "20 ms",
		"a line end":         "20ms\n",
		"no whole part":      ".5ms",
		"no fraction":        "5.ms",
		"a comma":            "1,5ms",
		"an exponent":        "1e3ms",
		"hexadecimal":        "0x10ms",
		"infinity":           "inf",
		"the Greek mu":       "5µs",
		"Arabic digits":      "٢٠ms",
		"less than 1us":      "0.9us",
		"below a nanosecond": "1.0001us",
		"beyond the cap":     "600.001s",
		"an hour":            "3600s",
		"huge":               "99999999999999999999999999s",
		"long":               strings.Repeat("0", 100_000) + "1ms",
		"a null byte":        "20ms\x00",
	} {
		got, err := fault.ParseDelay(in)
		if err == nil {
			t.Errorf("%s: ParseDelay(%.40q) = %v, want an error", name, in, got)
			continue
		}
		if !strings.Contains(err.Error(), "us, ms or s") || len(err.Error()) > 300 {
			t.Errorf("%s: error %q, want one line that says what is accepted", name, err)
		}
	}
}

func TestFormatDelay(t *testing.T) {
	for in, want := range map[time.Duration]string{
		0:                         "0",
		time.Microsecond:          "1us",
		500 * time.Microsecond:    "500us",
		1500 * time.Microsecond:   "1.5ms",
		20 * time.Millisecond:     "20ms",
		time.Second:               "1s",
		90 * time.Second:          "90s",
		10 * time.Minute:          "600s",
		time.Second + 1:           "1.000000001s",
		274*time.Second + 999_999: "274.000999999s",
	} {
		if got := fault.FormatDelay(in); got != want {
			t.Errorf("FormatDelay(%d) = %q, want %q", in, got, want)
		}
	}
}

func FuzzParseDelay(f *testing.F) {
	for _, seed := range []string{"", "0", "20ms", "1.5ms", "500us", "1s", "1S", "-5ms", "20ms loss 50%", "600.000000001s", "0.0000001s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		delay, err := fault.ParseDelay(in)
		if err != nil {
			return
		}
		if delay != 0 && (delay < fault.MinDelay || delay > fault.MaxDelay) {
			t.Fatalf("ParseDelay(%q) = %v, out of bounds", in, delay)
		}
		if again, err := fault.ParseDelay(fault.FormatDelay(delay)); err != nil || again != delay {
			t.Fatalf("%q parses to %v, which is written %q and parses to %v, %v", in, delay, fault.FormatDelay(delay), again, err)
		}
	})
}
