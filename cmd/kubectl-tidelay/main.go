// Command kubectl-tidelay is a plugin of kubectl that makes the network of TidbClusters slow,
// lossy or cut. See package plugin for what it does, and "kubectl tidelay --help".
package main

import (
	"cmp"
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"golang.org/x/term"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/tidelay/tidelay/pkg/plugin"
)

// version is set by the linker. A program that "go install" made has that of its module instead.
var version string

func main() { os.Exit(run()) }

// run returns the exit status, so that deferred calls run before os.Exit.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	return plugin.Main(ctx, plugin.Surroundings{
		IOStreams:     genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr},
		Version:       cmp.Or(version, moduleVersion(), "dev"),
		IsTerminal:    term.IsTerminal(int(os.Stdout.Fd())),
		IsErrTerminal: term.IsTerminal(int(os.Stderr.Fd())),
		NoColor:       os.Getenv("NO_COLOR") != "",
		Height: func() int {
			_, height, err := term.GetSize(int(os.Stdout.Fd()))
			if err != nil {
				return 0
			}
			return height
		},
	}, os.Args[1:])
}

// moduleVersion returns the version of the module that this program was made of; "" if that is
// not known.
func moduleVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "(devel)" {
		return ""
	}
	return info.Main.Version
}
