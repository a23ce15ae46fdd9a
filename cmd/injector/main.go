// Command injector serves the mutating webhook that adds the Tidelay agent to the
// pods of TidbClusters that ask for it. See package webhook for what it does, and
// "injector --help" for its flags.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tidelay/tidelay/cmd/internal/daemon"
)

// version is set by the linker.
var version = "dev"

func main() {
	os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// run is main with its surroundings as arguments. It returns the exit status.
func run(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	return daemon.Main("injector", version, &options{}, args, getenv, stdout, stderr)
}

// Run runs the injector until signals ends, and then for the time of the drain with
// its readiness gone. The API server goes on using its open connections meanwhile,
// and would admit a pod without the agent if they were closed.
func (o *options) Run(signals context.Context, health *daemon.Health) error {
	var d drain
	mgr, err := newManager(signals, *o, &d, health)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(signals))
	defer stop()
	context.AfterFunc(signals, func() {
		mgr.GetLogger().Info("draining", "for", o.drain)
		d.begin()
		time.AfterFunc(o.drain, stop)
	})
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("run manager: %w", err)
	}
	return nil
}
