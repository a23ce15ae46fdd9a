package configfile

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/tidelay/tidelay/pkg/injection"
)

func defaults() injection.Config {
	return injection.Config{Image: "tidelay/agent:v1", PullPolicy: corev1.PullIfNotPresent, Resources: injection.DefaultResources(), Version: "v1"}
}

func with(change func(*injection.Config)) injection.Config {
	c := defaults()
	change(&c)
	return c
}

func TestParse(t *testing.T) {
	tests := map[string]struct {
		content string
		want    injection.Config
		problem string
	}{
		"nothing":        {content: "", problem: "it is empty"},
		"a comment":      {content: "# agent: {}\n---\n", problem: "it is empty"},
		"null":           {content: "null", problem: "it is empty"},
		"an empty agent": {content: "agent: {}", want: defaults()},
		"a part of resources": {
			content: "agent: {resources: {limits: {memory: 256Mi}}}",
			want:    with(func(c *injection.Config) { c.Resources.Limits[corev1.ResourceMemory] = resource.MustParse("256Mi") }),
		},
		"everything": {
			content: "agent:\n  imagePullPolicy: Always\n  imagePullSecrets: [a, b]\n  maxDuration: 1h\n  tokenSecret: token",
			want: with(func(c *injection.Config) {
				c.PullPolicy, c.PullSecrets, c.MaxDuration, c.TokenSecret = corev1.PullAlways, []string{"a", "b"}, time.Hour, "token"
			}),
		},
		"an unknown setting":          {content: "agent: {imagePolicy: Always}", problem: `unknown field "agent.imagePolicy"`},
		"the wrong case":              {content: "agent: {Image: a}", problem: `unknown field "agent.Image"`},
		"a setting twice":             {content: "agent:\n  tokenSecret: a\n  tokenSecret: b", problem: `"tokenSecret" already set`},
		"an image":                    {content: "agent: {image: a/b:c}", problem: `agent.image "a/b:c": want it in --agent-image`},
		"no image":                    {content: `agent: {image: ""}`, problem: `agent.image "": want it in --agent-image`},
		"a list for an image":         {content: "agent: {image: [a]}", problem: `agent.image "[a]": want it in --agent-image`},
		"a list for a name":           {content: "agent: {tokenSecret: [a]}", problem: "tokenSecret"},
		"no YAML":                     {content: "agent: {", problem: "parse configuration"},
		"no map":                      {content: "agent", problem: "parse configuration"},
		"a duration of no unit":       {content: `agent: {maxDuration: "60"}`, problem: `agent.maxDuration "60": want a time with its unit`},
		"no duration":                 {content: "agent: {maxDuration: 0s}", problem: `agent.maxDuration "0s"`},
		"a short duration":            {content: "agent: {maxDuration: 1ms}", problem: `agent.maxDuration "1ms": want from 1s`},
		"a quantity":                  {content: "agent: {resources: {limits: {memory: much}}}", problem: "quantities must match"},
		"a mistake beside a duration": {content: "agent: {tokenSecret: A, maxDuration: soon}", problem: "want a time with its unit, such as \"1h\"\nagent.tokenSecret"},
		"two mistakes":                {content: "agent: {imagePullPolicy: never, tokenSecret: A}", problem: `agent.tokenSecret "A"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Parse([]byte(test.content), defaults())
			if test.problem != "" {
				if err == nil || !strings.Contains(err.Error(), test.problem) {
					t.Errorf("error %v, want one that says %s", err, test.problem)
				}
				return
			}
			if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
				t.Errorf("%v, (-want +got):\n%s", err, diff)
			}
		})
	}
}

// A file that stops making sense changes nothing, and is complained of once.
func TestFileKeepsTheLastGoodOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	write("agent: {tokenSecret: first}")
	f, err := Open(path, defaults(), prometheus.NewRegistry(), funcr.New(func(_, args string) { log.WriteString(args + "\n") }, funcr.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	is := func(token string, good float64, lines int) {
		t.Helper()
		f.reload()
		f.reload()
		if got := f.Current().TokenSecret; got != token || testutil.ToFloat64(f.valid) != good || strings.Count(log.String(), "\n") != lines {
			t.Errorf("token %s, good %v, log %q; want %s, %v and %d lines", got, testutil.ToFloat64(f.valid), log.String(), token, good, lines)
		}
	}
	is("first", 1, 0)
	write("agent: {tokenSecret: second}")
	is("second", 1, 1)
	write("agent: {image: third}")
	is("second", 0, 2)
	if !strings.Contains(log.String(), "agent.image") || !strings.Contains(log.String(), path) {
		t.Errorf("the log does not say what is wrong: %s", log.String())
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	is("second", 0, 3)
	write("agent: {tokenSecret: second}")
	is("second", 1, 4)
	write("")
	is("second", 0, 5)
	write("agent: {}")
	is("", 1, 6)
}

func TestOpenRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	if _, err := Open(path, defaults(), prometheus.NewRegistry(), logr.Discard()); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("without the file: error %v", err)
	}
	if err := os.WriteFile(path, []byte("agent: {tokenSecret: -}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, defaults(), prometheus.NewRegistry(), logr.Discard()); err == nil || !strings.Contains(err.Error(), path+": agent.tokenSecret") {
		t.Errorf("with a bad one: error %v", err)
	}
	if f, err := Open("", defaults(), prometheus.NewRegistry(), logr.Discard()); err != nil || f.Current().Image != defaults().Image {
		t.Errorf("without a path: error %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "agent: {}", "agent: {image: a}", "agent: {tokenSecret: a, maxDuration: 1h}", "agent: {resources: {limits: {cpu: 1}}}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		c, err := Parse(content, defaults())
		if err != nil {
			return
		}
		if err := c.Validate(); err != nil {
			t.Errorf("accepted what is not valid: %v", err)
		}
	})
}
