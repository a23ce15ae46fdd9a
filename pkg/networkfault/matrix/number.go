package matrix

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/fault"
)

// What the numbers of a file are.
const (
	rttAccepted    = "want milliseconds of a round trip as a decimal number without a unit, such as 20 or 0.5: 0, or from 0.001 to 600000 with at most 6 decimals"
	jitterAccepted = "want milliseconds as a decimal number without a unit, such as 2 or 0.5: nothing, 0, or from 0.001 to 2000 with at most 6 decimals, and not above rtt_ms"
	lossAccepted   = "want percents as a decimal number without a unit, such as 0.1: nothing, or from 0 to 100 with at most 4 decimals"
	rateAccepted   = "want megabits a second as a decimal number without a unit, such as 1000: nothing, or from 0.008 to 100000 with at most 6 decimals"
)

var number = regexp.MustCompile(`^([0-9]{1,9})(?:[.]([0-9]{1,6}))?$`)

// normal returns a number without the zeros that mean nothing, so that one number is one
// text; "" if the text is no number.
func normal(text string) string {
	parts := number.FindStringSubmatch(text)
	if parts == nil {
		return ""
	}
	whole, fraction := strings.TrimLeft(parts[1], "0"), strings.TrimRight(parts[2], "0")
	if whole == "" {
		whole = "0"
	}
	if fraction != "" {
		fraction = "." + fraction
	}
	return whole + fraction
}

// milliseconds reads a time from 0 to 600 s. Its text has the unit, as a link has it.
func (t *table) milliseconds(c cell, accepted string) (text string, d time.Duration, ok bool) {
	text = normal(c.text) + "ms"
	d, err := fault.ParseDelay(text)
	if err != nil {
		t.refuse(c, accepted)
	}
	return text, d, err == nil
}

// times reads a round trip and its jitter, whose cell may be missing.
func (t *table) times(rtt, jitter cell) (v1alpha1.RoundTrip, v1alpha1.Delay) {
	text, most, ok := t.milliseconds(rtt, rttAccepted)
	if jitter.text == "" {
		return v1alpha1.RoundTrip(text), ""
	}
	jitterText, d, jitterOK := t.milliseconds(jitter, jitterAccepted)
	switch {
	case ok && jitterOK && d > min(most, fault.MaxJitter):
		t.refuse(jitter, jitterAccepted)
	case d == 0:
		jitterText = ""
	}
	return v1alpha1.RoundTrip(text), v1alpha1.Delay(jitterText)
}

// loss reads how many packets are lost.
func (t *table) loss(c cell) *v1alpha1.Loss {
	if c.text == "" {
		return nil
	}
	value, err := strconv.ParseFloat(normal(c.text), 64)
	if err == nil {
		_, err = fault.ParsePercent(value)
	}
	if err != nil {
		t.refuse(c, lossAccepted)
		return nil
	}
	if value == 0 {
		return nil
	}
	percent := v1alpha1.Percent(value)
	return &v1alpha1.Loss{Percent: &percent}
}

// rate reads a link's capacity.
func (t *table) rate(c cell) *v1alpha1.Rate {
	if c.text == "" {
		return nil
	}
	text := normal(c.text) + "mbit"
	if _, err := fault.ParseRate(text); err != nil {
		t.refuse(c, rateAccepted)
		return nil
	}
	return &v1alpha1.Rate{PerSecond: text}
}
