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
		missedCheck: 30 * time.Second, askAgents: true,
	}
	if got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	for _, accepted := range []string{"0s", "1s", "1h"} {
		var o options
		if err := daemon.Parse(&o, []string{"--agent-image=a", "--missed-check=" + accepted}, inNamespace); err != nil {
			t.Errorf("--missed-check=%s: %v", accepted, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	tests := map[string]struct {
		args []string
		want []string // what the message must say
	}{
		"if nothing is given":        {want: []string{`agent-image "": want an image`, `namespace "": want`}},
		"if the check is too often":  {args: []string{"--missed-check=1ms"}, want: []string{`missed-check "1ms": want 1s to 1h, or 0s for never`}},
		"if the check is too seldom": {args: []string{"--missed-check=61m"}, want: []string{`missed-check "1h1m0s": want 1s to 1h, or 0s for never`}},
		"if it is the injector's":    {args: []string{"--drain=1s"}, want: []string{"--drain"}},
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
	for arg, want := range map[string]string{"--version": version + "\n", "--help": "Usage: controller --agent-image=IMAGE"} {
		var stdout, stderr bytes.Buffer
		if status := run([]string{arg}, inNamespace, &stdout, &stderr); status != 0 || stderr.Len() > 0 || !strings.Contains(stdout.String(), want) {
			t.Errorf("%s: status %d, stdout %q, stderr %q; want 0 and %q", arg, status, stdout.String(), stderr.String(), want)
		}
		if strings.Contains(stdout.String(), "tidelay-system") {
			t.Errorf("%s tells of the environment: %q", arg, stdout.String())
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
