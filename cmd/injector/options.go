package main

import (
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"github.com/tidelay/tidelay/cmd/internal/daemon"
)

// options is the command line.
type options struct {
	daemon.Options
	webhookPort int
	podName     string
	drain       time.Duration
}

// Flags returns the flag set that fills o.
func (o *options) Flags(getenv func(string) string) *pflag.FlagSet {
	f := o.NewFlags("injector", getenv)
	f.Lookup("webhook-name").Usage += "; the CA's Secret has this name with \"-ca\""
	f.IntVar(&o.webhookPort, "webhook-port", 9443, "TCP port of the webhook, 1 to 65535")
	f.StringVar(&o.podName, "pod-name", getenv("POD_NAME"), "name of the pod that the injector runs in, to find newer replicas; $POD_NAME unless given, empty for none")
	f.DurationVar(&o.drain, "drain", 10*time.Second, "how long to keep serving after SIGTERM, 0s to 1m")
	return f
}

// Validate returns an error with every flag that is not valid.
func (o *options) Validate() error {
	var p daemon.Problems
	o.Check(&p)
	p.Check(o.webhookPort >= 1 && o.webhookPort <= 65535, "webhook-port", strconv.Itoa(o.webhookPort), "1 to 65535")
	p.Check(o.podName == "" || daemon.IsSubdomain(o.podName), "pod-name", o.podName, "the name of a pod, or nothing")
	p.Check(o.drain >= 0 && o.drain <= time.Minute, "drain", o.drain.String(), "0s to 1m")
	return p.Err()
}
