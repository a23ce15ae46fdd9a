package docs

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/tidelay/tidelay/pkg/plugin"
)

// tools are the commands that are checked beyond their syntax: the sub-commands
// that the documents use, and the flags that each of them takes. A flag with a
// value ends in "=".
var tools = map[string]map[string][]string{
	"kubectl": {
		"annotate":     {"-n="},
		"apply":        {"-n=", "-k=", "-f="},
		"create":       {"-n=", "--from-literal=", "--clusterrole=", "--role=", "--user="},
		"describe":     {"-n="},
		"delete":       {"-n=", "-k=", "--raw=", "--all", "--all-namespaces"},
		"get":          {"-n=", "-o=", "--raw=", "--field-selector=", "--all-namespaces"},
		"logs":         {"-n=", "-c="},
		"exec":         {},
		"explain":      {},
		"patch":        {"-n=", "--type=", "-p=", "--patch-file="},
		"port-forward": {"-n="},
		"replace":      {"--raw=", "-f="},
		"rollout":      {"-n=", "--timeout="},
		"krew":         {"--manifest=", "--archive="},
		"tidelay":      {}, // which knows its own flags
		"wait":         {"-n=", "--for=", "--timeout="},
	},
	"helm": {
		"install":   {"--namespace=", "--create-namespace", "--set="},
		"upgrade":   {"--namespace=", "--reset-then-reuse-values", "--set=", "--wait"},
		"uninstall": {"--namespace="},
	},
	"curl": {"": {"-X=", "-d=", "-H="}},
}

// toolFlags are the names of all flags of tools.
func toolFlags() map[string]bool {
	all := map[string]bool{}
	for _, commands := range tools {
		for _, flags := range commands {
			for _, flag := range flags {
				all[strings.Trim(flag, "-=")] = true
			}
		}
	}
	return all
}

// command is one call of a tool.
type command struct {
	tool, verb string
	// arguments are what is no flag, flags the others with their values.
	arguments []string
	flags     map[string]string
	// output is what the page shows that the command printed, if it does.
	output string
}

// TestCommands tries every command of a tool: that it parses, that the tool
// has it, and that what it names is there.
func TestCommands(t *testing.T) {
	seen := map[string]int{}
	for _, p := range allPages(t) {
		var sources []block
		for _, b := range p.blocks {
			if b.language == "" {
				sources = append(sources, scripts(b.content)...)
			}
		}
		for _, span := range p.spans {
			if calls(span) && strings.Contains(span, " ") && !isName(span) {
				sources = append(sources, block{content: span})
			}
			if keys, ok := strings.CutPrefix(span, "--set "); ok {
				checkValues(t, p.name, keys)
			}
		}
		for _, source := range sources {
			commands, err := parseCommands(source)
			if err != nil {
				t.Errorf("%s: %v in:\n%s", p.name, err, source.content)
			}
			for _, c := range commands {
				seen[c.tool]++
				t.Run(p.name+" "+c.tool+" "+c.verb, func(t *testing.T) { c.check(t, p.name) })
			}
		}
	}
	for tool := range tools {
		if seen[tool] == 0 {
			t.Errorf("no page has a command of %s: they are not found", tool)
		}
	}
}

// isName reports a span that names a kind of command and shows none.
func isName(span string) bool {
	return slices.Contains([]string{"kubectl logs", "kubectl exec", "kubectl rollout status", "helm upgrade"}, span)
}

var call = regexp.MustCompile(`(?m)^(\$ )?(kubectl|helm|curl) `)

func calls(text string) bool { return call.MatchString(text) }

func (c command) check(t *testing.T, page string) {
	switch c.tool {
	case "kubectl":
		c.checkKubectl(t)
	case "helm":
		c.checkHelm(t, page)
	case "curl":
		c.checkCurl(t)
	}
}

var podProxy = regexp.MustCompile(`^/api/v1/namespaces/[^/]+/pods/[^/]+:2332/proxy(/.*)$`)

func (c command) checkKubectl(t *testing.T) {
	if c.verb == "tidelay" {
		c.checkPlugin(t)
	}
	if folder := c.flags["-k"]; folder != "" {
		if _, err := os.Stat(filepath.Join(root, folder, "kustomization.yaml")); err != nil {
			t.Errorf("-k %s: %v", folder, err)
		}
	}
	if patch := c.flags["-p"]; patch != "" {
		var any map[string]any
		if err := yaml.UnmarshalStrict([]byte(patch), &any); err != nil {
			t.Errorf("-p %s: %v", patch, err)
		}
	}
	if raw := c.flags["--raw"]; raw != "" {
		match := podProxy.FindStringSubmatch(raw)
		if match == nil {
			t.Fatalf("--raw %s: want %s", raw, podProxy)
		}
		method := map[string]string{"get": http.MethodGet, "delete": http.MethodDelete, "replace": http.MethodPut}[c.verb]
		checkRequest(t, method, "http://agent"+match[1], "", "")
	}
}

// checkPlugin has the plugin itself read its flags and arguments.
func (c command) checkPlugin(t *testing.T) {
	cmd, rest, err := plugin.Command().Find(c.arguments)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.ParseFlags(rest); err != nil {
		t.Fatalf("%q: %v", c.arguments, err)
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		t.Errorf("%q: %v", c.arguments, err)
	}
}

func (c command) checkHelm(t *testing.T, page string) {
	if c.verb != "uninstall" {
		if len(c.arguments) != 2 {
			t.Fatalf("want a name and a chart, got %q", c.arguments)
		}
		if _, err := os.Stat(filepath.Join(root, c.arguments[1], "Chart.yaml")); err != nil {
			t.Errorf("chart %s: %v", c.arguments[1], err)
		}
	}
	if keys := c.flags["--set"]; keys != "" {
		checkValues(t, page, keys)
	}
}

// checkValues compares the keys of helm's --set with the schema of the chart.
func checkValues(t *testing.T, page, settings string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, "manifests/chart/values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := yaml.Unmarshal(content, &schema); err != nil {
		t.Fatal(err)
	}
	for setting := range strings.SplitSeq(settings, ",") {
		key, _, ok := strings.Cut(setting, "=")
		if !ok {
			t.Errorf("%s: --set %s: want KEY=VALUE", page, setting)
		}
		node := schema
		for part := range strings.SplitSeq(key, ".") {
			properties, _ := node["properties"].(map[string]any)
			node, _ = properties[part].(map[string]any)
		}
		if node == nil {
			t.Errorf("%s: --set %s: the chart has no such value", page, setting)
		}
	}
}

func (c command) checkCurl(t *testing.T) {
	if len(c.arguments) != 1 {
		t.Fatalf("want one address, got %q", c.arguments)
	}
	address := c.arguments[0]
	if !strings.HasPrefix(address, "http://") {
		address = "http://" + address
	}
	method := c.flags["-X"]
	switch {
	case method != "":
	case c.flags["-d"] != "":
		method = http.MethodPost
	default:
		method = http.MethodGet
	}
	checkRequest(t, method, address, c.flags["-d"], c.output)
}
