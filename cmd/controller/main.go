// Command controller carries out the NetworkFaults and NetworkTopologies of TidbClusters, and
// looks for running pods without the agent that their TidbClusters ask to inject. See packages
// networkfault and missed for what it does, and "controller --help" for its flags.
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/tidelay/tidelay/cmd/internal/daemon"
)

// version is set by the linker.
var version = "dev"

func main() {
	os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// run is main with its surroundings as arguments. It returns the exit status.
func run(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	return daemon.Main("controller", version, &options{}, args, getenv, stdout, stderr)
}

// Run runs the controller until signals ends, or until this replica loses the lead.
// Then it is to be started again, so that a new leader starts afresh.
func (o *options) Run(signals context.Context, health *daemon.Health) error {
	mgr, err := newManager(signals, *o, health)
	if err != nil {
		return err
	}
	if err := mgr.Start(signals); err != nil {
		return fmt.Errorf("run manager: %w", err)
	}
	return nil
}
