package main

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/tidelay/tidelay/cmd/internal/daemon"
)

// options is the command line.
type options struct {
	daemon.Options
	missedCheck time.Duration
	askAgents   bool
}

// Flags returns the flag set that fills o.
func (o *options) Flags(getenv func(string) string) *pflag.FlagSet {
	f := o.NewFlags("controller", getenv)
	f.DurationVar(&o.missedCheck, "missed-check", 30*time.Second, "how often to look for running pods that were missed, 1s to 1h; 0s for never")
	f.BoolVar(&o.askAgents, "ask-agents", true, "with --missed-check, ask each running agent how it is")
	return f
}

// Validate returns an error with every flag that is not valid.
func (o *options) Validate() error {
	var p daemon.Problems
	o.Check(&p)
	p.Check(o.missedCheck == 0 || o.missedCheck >= time.Second && o.missedCheck <= time.Hour, "missed-check", o.missedCheck.String(), "1s to 1h, or 0s for never")
	return p.Err()
}
