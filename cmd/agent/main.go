// Command agent applies network faults to the pod it runs in, as its HTTP API
// asks.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/tidelay/tidelay/pkg/agent"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// version is set by the linker.
var version = "dev"

func main() {
	os.Exit(run())
}

// run returns the exit code, so that deferred calls run before os.Exit.
func run() int {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	options, err := parse(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	signal.Ignore(syscall.SIGPIPE) // a log that nobody reads any more is no reason to end
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := agent.Run(ctx, options, log); err != nil {
		log.Error("agent failed", "err", err)
		return 1
	}
	return 0
}

func parse(args []string) (agent.Options, error) {
	o := agent.Options{
		Version:       version,
		EnvNodeIP:     os.Getenv("NODE_IP"),
		EnvProbePorts: os.Getenv("PROBE_PORTS"),
		EnvPodUID:     os.Getenv("POD_UID"),
	}
	flags := flag.NewFlagSet("agent", flag.ContinueOnError)
	flags.StringVar(&o.Listen, "listen", ":2332", "address of the HTTP API; no fault touches its port")
	flags.StringVar(&o.Device, "device", "", `interfaces whose packets meet faults, comma-separated, or "all" (default those of the default route, else the only one that is not loopback)`)
	flags.StringVar(&o.Engine, "engine", api.EngineAuto, "auto, netem or nfqueue; auto takes the first that works")
	flags.StringVar(&o.StateDir, "state-dir", "/run/tidelay", "directory that keeps the faults for the next agent; empty to rely on the kernel alone")
	flags.StringVar(&o.NodeIP, "node-ip", "", "the node's IP addresses, comma-separated, whose probes no fault touches (default $NODE_IP)")
	flags.StringVar(&o.ProbePorts, "probe-ports", "", "TCP ports that kubelet probes, comma-separated (default $PROBE_PORTS)")
	flags.DurationVar(&o.MaxDuration, "max-duration", 0, "longest duration of a fault, and that of a fault without one; 0 for no cap")
	flags.StringVar(&o.QueueMemory, "queue-memory", "256Mi", "memory for the packets that wait in one fault's queue, from 1Mi to 64Gi")
	flags.StringVar(&o.TokenFile, "token-file", "", "file with the bearer token that every route but health asks for; read at every request; empty for none")
	flags.BoolVar(&o.ReadOnly, "read-only", false, "refuse every change; what is stored is still restored and ended on time")
	show := flags.Bool("version", false, "print the version and exit")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		err := fmt.Errorf("unknown argument %q; the agent takes flags only", flags.Arg(0))
		fmt.Fprintln(flags.Output(), err)
		return o, err
	}
	if *show {
		fmt.Println(version)
		return o, flag.ErrHelp
	}
	return o, nil
}
