package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/cmd/internal/daemon"
)

func noEnv(string) string { return "" }

func inNamespace(key string) string {
	if key == "POD_NAMESPACE" {
		return "tidelay-system"
	}
	return ""
}

func TestParse(t *testing.T) {
	var got options
	if err := daemon.Parse(&got, []string{"--agent-image=tidelay/agent:dev"}, inNamespace); err != nil {
		t.Fatal(err)
	}
	want := options{
		Options: daemon.Options{
			AgentImage: "tidelay/agent:dev", HealthAddr: ":8081", MetricsAddr: ":8080", Namespace: "tidelay-system",
			WebhookName: "tidelay-injector", ServiceName: "tidelay-injector", ImageCheck: 15 * time.Second, LogLevel: "info", LogFormat: "text",
		},
		webhookPort: 9443, drain: 10 * time.Second,
	}
	if got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	tests := map[string]struct {
		args []string
		want []string // what the message must say
	}{
		"if nothing is given":           {want: []string{`agent-image "": want an image`, `namespace "": want`}},
		"if a value is bad":             {args: []string{"--webhook-port=0"}, want: []string{`webhook-port "0": want 1 to 65535`}},
		"if the port is too large":      {args: []string{"--webhook-port=65536"}, want: []string{`webhook-port "65536": want 1 to 65535`}},
		"if an address has no port":     {args: []string{"--health-addr=localhost"}, want: []string{`health-addr "localhost": want an address`}},
		"if an address has port 0":      {args: []string{"--metrics-addr=:0"}, want: []string{`metrics-addr ":0": want an address`}},
		"if names are bad":              {args: []string{"--webhook-name=A", "--service-name=a.b"}, want: []string{`webhook-name "A"`, `service-name "a.b"`}},
		"if the pod's name is bad":      {args: []string{"--pod-name=A"}, want: []string{`pod-name "A": want the name of a pod, or nothing`}},
		"if the drain is too long":      {args: []string{"--drain=1h"}, want: []string{`drain "1h0m0s": want 0s to 1m`}},
		"if images are never looked at": {args: []string{"--image-check=0s"}, want: []string{`image-check "0s": want 1s to 5m`}},
		"if the log flags are bad":      {args: []string{"--log-level=all", "--log-format=xml"}, want: []string{`log-level "all": want info or debug`, `log-format "xml"`}},
		"if a flag is unknown":          {args: []string{"--nope"}, want: []string{"--nope"}},
		"if a value is no number":       {args: []string{"--webhook-port=https"}, want: []string{`"https"`, "--webhook-port"}},
		"if there is an argument":       {args: []string{"serve"}, want: []string{`"serve"`}},
		"if several values are bad":     {args: []string{"--drain=-1s", "--log-level="}, want: []string{`drain "-1s"`, `log-level ""`, `agent-image ""`}},
		"if the image is not literal":   {args: []string{"--agent-image=$(AGENT_IMAGE)"}, want: []string{`agent-image "$(AGENT_IMAGE)": want`}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if status := run(test.args, noEnv, &stdout, &stderr); status != 2 || stdout.Len() > 0 {
				t.Errorf("status %d and %q on stdout, want 2 and nothing", status, stdout.String())
			}
			for _, want := range test.want {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("stderr %q does not say %q", stderr.String(), want)
				}
			}
		})
	}
}

func TestRunAnswers(t *testing.T) {
	for arg, want := range map[string]string{"--version": version + "\n", "--help": "--agent-image string"} {
		var stdout, stderr bytes.Buffer
		if status := run([]string{arg}, noEnv, &stdout, &stderr); status != 0 || stderr.Len() > 0 || !strings.Contains(stdout.String(), want) {
			t.Errorf("%s: status %d, stdout %q, stderr %q; want 0 and %q", arg, status, stdout.String(), stderr.String(), want)
		}
	}
}

func TestRunWithoutCluster(t *testing.T) {
	var stdout, stderr bytes.Buffer
	args := []string{"--agent-image=a", "--namespace=b", "--kubeconfig=/nowhere", "--log-format=json"}
	if status := run(args, noEnv, &stdout, &stderr); status != 1 || !strings.Contains(stderr.String(), `load kubeconfig \"/nowhere\"`) {
		t.Errorf("status %d, stderr %q", status, stderr.String())
	}
}
