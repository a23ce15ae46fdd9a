// Command pinger measures from inside a test cluster: it pings, connects and sends HTTP
// requests from its pod, and prints JSON. The cluster tier calls it with exec: in pods of
// its own, one of them on the node's network, and as an ephemeral container in the pods of
// a TidbCluster, whose network it has then.
//
//	pinger wait                       do nothing until a signal comes
//	pinger rtt WAIT INTERVAL COUNT TARGET...   {"TARGET":{"sent":N,"rtts":[NANOSECONDS,...]},...}
//	pinger echoes                     {"received":N}
//	pinger http METHOD URL [BODY]     {"status":200,"header":{"Name":["value"]},"body":"..."}
//	pinger signal NAME CONTAINER      {"signalled":N}
//
// rtt measures to all targets at once, COUNT times to each: by ping to ADDRESS, by a TCP
// connection to ADDRESS:PORT. It waits for the last answers as long as WAIT says, 1s for
// example, and lists the RTTs in the order of the answers. echoes says how many echo
// requests have come to this pod. signal sends the signal KILL, STOP or CONT to the
// processes of a container, by its ID, from a pod that sees the node's processes.
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
	"strings"
	"syscall"
	"time"
)

// httpTimeout is the limit of one request.
const httpTimeout = 10 * time.Second

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	if len(args) == 1 && args[0] == "wait" {
		<-ctx.Done()
		return nil
	}
	result, err := answer(ctx, args)
	if err != nil {
		return fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

// answer returns what a command prints.
func answer(ctx context.Context, args []string) (any, error) {
	switch {
	case len(args) >= 5 && args[0] == "rtt":
		p, err := parsePlan(args[1], args[2], args[3])
		if err != nil {
			return nil, err
		}
		return measure(ctx, p, args[4:])
	case len(args) == 1 && args[0] == "echoes":
		return echoes()
	case len(args) == 3 && args[0] == "http":
		return ask(ctx, args[1], args[2], "")
	case len(args) == 4 && args[0] == "http":
		return ask(ctx, args[1], args[2], args[3])
	case len(args) == 3 && args[0] == "signal":
		return signalContainer(args[1], args[2])
	default:
		return nil, errors.New("usage: pinger wait | rtt WAIT INTERVAL COUNT TARGET... | echoes | http METHOD URL [BODY] | signal NAME CONTAINER")
	}
}

func ask(ctx context.Context, method, url, content string) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, httpTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(content))
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	return map[string]any{"status": response.StatusCode, "header": response.Header, "body": string(body)}, nil
}
