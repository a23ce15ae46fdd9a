// Command standin stands in for PD, TiKV, TiDB, TiFlash and TiCDC in test clusters that
// cannot pull their images. It answers what TiDB Operator and the kubelet ask of each,
// so that a TidbCluster becomes Ready and rolls over, and nothing else: it is no
// database. Each listens on the ports of what it stands in for.
//
// A test sets who leads PD, and how many regions each TiKV leads, at every PD, and who
// owns TiCDC at every TiCDC:
//
//	PUT /standin/roles          {"leader":"basic-pd-1","leaders":{"basic-tikv-2":7}}
//	PUT /standin/owner/basic-ticdc-1
//
// TiDB Operator starts PD, TiKV and TiDB with
//
//	/bin/sh /usr/local/bin/<component>_start_script.sh
//
// and TiFlash and TiCDC with
//
//	/bin/sh -c SCRIPT
//
// In the stand-in images this program is /bin/sh. It does not read the script: which
// component to be is in the script's name, or else in the name of the component's
// headless service, which is in the environment.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// pdData is where TiDB Operator mounts PD's volume.
const pdData = "/var/lib/pd"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Getenv)
	stop()
	if err != nil {
		slog.Error("stand-in failed", "error", err)
		os.Exit(1)
	}
}

// run serves what the component named by the start script serves, until ctx
// ends.
func run(ctx context.Context, args []string, getenv func(string) string) error {
	if len(args) == 0 {
		return errors.New("no start script: want /bin/sh <component>_start_script.sh or /bin/sh -c SCRIPT")
	}
	component := componentOf(args[0], getenv("HEADLESS_SERVICE_NAME"))
	servers, err := serversOf(component, getenv)
	if err != nil {
		return err
	}
	slog.Info("standing in", "component", component)
	return serve(ctx, servers)
}

// componentOf returns the component that a start script is of, by the script's name, or,
// where it is given by "-c", by the headless service <cluster>-<component>-peer.
func componentOf(script, service string) string {
	if script == "-c" {
		name := strings.TrimSuffix(service, "-peer")
		return name[strings.LastIndexByte(name, '-')+1:]
	}
	component, _, _ := strings.Cut(filepath.Base(script), "_")
	return component
}

// serversOf returns the servers of a component, on the ports TiDB Operator
// gives it.
func serversOf(component string, getenv func(string) string) ([]*http.Server, error) {
	switch component {
	case "pd":
		p, err := newPD(getenv("SET_NAME"), getenv("NAMESPACE"), pdData)
		if err != nil {
			return nil, err
		}
		return []*http.Server{p.server(":2379"), {Addr: ":2380"}}, nil
	case "tikv":
		return []*http.Server{{Addr: ":20160"}, {Addr: ":20180", Handler: tikvStatus()}}, nil
	case "tidb":
		return []*http.Server{{Addr: ":4000"}, {Addr: ":10080", Handler: tidbStatus()}}, nil
	case "tiflash":
		return []*http.Server{{Addr: ":3930"}, {Addr: ":20170"}, {Addr: ":20292"}, {Addr: ":8234"}}, nil
	case "ticdc":
		c := newCapture(getenv("POD_NAME"))
		return []*http.Server{{Addr: ":8301", Handler: c.handler()}}, nil
	default:
		return nil, fmt.Errorf("component %q: want pd, tikv, tidb, tiflash or ticdc", component)
	}
}

// serve runs the servers until ctx ends or one of them fails.
func serve(ctx context.Context, servers []*http.Server) error {
	failed := make(chan error, len(servers))
	for _, s := range servers {
		s.ReadHeaderTimeout = 10 * time.Second
		if s.Handler == nil {
			s.Handler = http.NotFoundHandler()
		}
		go func() { failed <- s.ListenAndServe() }()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	for _, s := range servers {
		err = errors.Join(err, s.Close())
	}
	return err
}
