// Command pinger measures from inside a test cluster: it pings and sends HTTP
// requests from its pod, and prints JSON. The cluster tier calls it with exec, in
// one pod of its own and in one on the node's network.
//
//	pinger wait                       do nothing until a signal comes
//	pinger ping TARGET COUNT          {"sent":N,"rtts":[NANOSECONDS,...]}
//	pinger http METHOD URL [BODY]     {"status":200,"header":{"Name":["value"]},"body":"..."}
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	probing "github.com/prometheus-community/pro-bing"
)

// The time between two pings, and the limit of one call.
const (
	interval = 50 * time.Millisecond
	timeout  = 10 * time.Second
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	switch {
	case len(args) == 1 && args[0] == "wait":
		<-ctx.Done()
		return nil
	case len(args) == 3 && args[0] == "ping":
		return ping(ctx, args[1], args[2])
	case len(args) == 3 && args[0] == "http":
		return ask(ctx, args[1], args[2], "")
	case len(args) == 4 && args[0] == "http":
		return ask(ctx, args[1], args[2], args[3])
	}
	return errors.New("usage: pinger wait | ping TARGET COUNT | http METHOD URL [BODY]")
}

func ping(ctx context.Context, target, count string) error {
	pinger, err := probing.NewPinger(target)
	if err != nil {
		return fmt.Errorf("ping %s: %w", target, err)
	}
	if pinger.Count, err = strconv.Atoi(count); err != nil {
		return fmt.Errorf("ping count %q: %w", count, err)
	}
	pinger.SetPrivileged(true)
	pinger.Interval, pinger.Timeout = interval, timeout
	if err := pinger.RunWithContext(ctx); err != nil {
		return fmt.Errorf("ping %s: %w", target, err)
	}
	statistics := pinger.Statistics()
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"sent": statistics.PacketsSent, "rtts": statistics.Rtts})
}

func ask(ctx context.Context, method, url, content string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(content))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, url, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, url, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, url, err)
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"status": response.StatusCode, "header": response.Header, "body": string(body)})
}
