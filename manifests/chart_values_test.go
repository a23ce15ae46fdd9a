package manifests

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"sigs.k8s.io/yaml"
)

// container is the path of the container in a Deployment.
const container = "/spec/template/spec/containers/0"

// chartCases are values, and what each changes: a JSON patch of the objects of a
// kind, or of the one of a kind and name. Without a patch the objects are removed.
var chartCases = []struct{ values, object, patch string }{
	{"images: {injector: registry.example.com/i:v1}", "Deployment tidelay-injector", `{op: replace, path: C/image, value: registry.example.com/i:v1}`},
	{"imagePullSecrets: [one, two]", "Deployment", `{op: add, path: P/imagePullSecrets, value: [{name: one}, {name: two}]}`},
	{"replicas: 3", "Deployment tidelay-injector", `{op: replace, path: /spec/replicas, value: 3}`},
	{"resources: {requests: {cpu: 1}, limits: {cpu: 2}}", "Deployment tidelay-injector", `{op: add, path: C/resources/limits/cpu, value: 2}, {op: replace, path: C/resources/requests/cpu, value: 1}`},
	{"resources: {requests: {memory: 1Gi}, limits: {memory: 2Gi}}", "Deployment tidelay-injector", `{op: replace, path: C/resources/limits/memory, value: 2Gi}, {op: replace, path: C/resources/requests/memory, value: 1Gi}`},
	{"resources: {limits: {memory: null}}", "Deployment tidelay-injector", `{op: remove, path: C/resources/limits/memory}`},
	{"goMemoryLimit: 1GiB", "Deployment tidelay-injector", `{op: replace, path: C/env/2/value, value: 1GiB}`},
	{"nodeSelector: {disk: ssd}", "Deployment", `{op: add, path: P/nodeSelector, value: {disk: ssd}}`},
	{"tolerations: [{operator: Exists}]", "Deployment", `{op: add, path: P/tolerations, value: [{operator: Exists}]}`},
	{"affinity: {podAntiAffinity: {}}", "Deployment", `{op: add, path: P/affinity, value: {podAntiAffinity: {}}}`},
	{"topologySpreadConstraints: []", "Deployment", `{op: remove, path: P/topologySpreadConstraints}`},
	{"topologySpreadConstraints: [{maxSkew: 2, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]", "Deployment", `
		{op: replace, path: P/topologySpreadConstraints/0/maxSkew, value: 2},
		{op: replace, path: P/topologySpreadConstraints/0/topologyKey, value: zone},
		{op: replace, path: P/topologySpreadConstraints/0/whenUnsatisfiable, value: DoNotSchedule}`},
	{"priorityClass: {value: 2000000}", "PriorityClass", `{op: replace, path: /value, value: 2000000}`},
	{"priorityClass: {create: false}", "PriorityClass", ""},
	{"podDisruptionBudget: {enabled: false}", "PodDisruptionBudget", ""},
	{"podDisruptionBudget: {maxUnavailable: 50%}", "PodDisruptionBudget", `{op: replace, path: /spec/maxUnavailable, value: 50%}`},
	{"networkPolicy: {enabled: false}", "NetworkPolicy", ""},
	{"hostNetwork: true", "Deployment tidelay-injector", `
		{op: add, path: P/hostNetwork, value: true}, {op: add, path: P/dnsPolicy, value: ClusterFirstWithHostNet},
		{op: replace, path: /spec/strategy/rollingUpdate, value: {maxSurge: 0, maxUnavailable: 1}}`},
	{"ports: {webhook: 10250}", "Deployment tidelay-injector", `{op: replace, path: C/ports/0/containerPort, value: 10250}, {op: replace, path: C/args/webhook-port, value: "10250"}`},
	{"ports: {health: 10251}", "Deployment tidelay-injector", `{op: replace, path: C/ports/1/containerPort, value: 10251}, {op: replace, path: C/args/health-addr, value: ":10251"}`},
	{"ports: {metrics: 10252}", "Deployment tidelay-injector", `
		{op: replace, path: C/ports/2/containerPort, value: 10252}, {op: replace, path: C/args/metrics-addr, value: ":10252"},
		{op: replace, path: /spec/template/metadata/annotations/prometheus.io~1port, value: "10252"}`},
	{"webhook: {timeoutSeconds: 2}", "MutatingWebhookConfiguration", `{op: replace, path: /webhooks/0/timeoutSeconds, value: 2}`},
	{"webhook: {excludedNamespaces: [other]}", "MutatingWebhookConfiguration", `{op: add, path: /webhooks/0/namespaceSelector/matchExpressions/0/values/-, value: other}`},
	{"drainSeconds: 30", "Deployment tidelay-injector", `{op: replace, path: C/args/drain, value: 30s}, {op: replace, path: P/terminationGracePeriodSeconds, value: 50}`},
	{"images: {controller: registry.example.com/c:v1}", "Deployment tidelay-controller", `{op: replace, path: C/image, value: registry.example.com/c:v1}`},
	{"controller: {replicas: 3}", "Deployment tidelay-controller", `{op: replace, path: /spec/replicas, value: 3}`},
	{"controller: {resources: {requests: {cpu: 1}, limits: {cpu: 2}}}", "Deployment tidelay-controller", `{op: add, path: C/resources/limits/cpu, value: 2}, {op: replace, path: C/resources/requests/cpu, value: 1}`},
	{"controller: {resources: {requests: {memory: 1Gi}, limits: {memory: 2Gi}}}", "Deployment tidelay-controller", `{op: replace, path: C/resources/limits/memory, value: 2Gi}, {op: replace, path: C/resources/requests/memory, value: 1Gi}`},
	{"controller: {goMemoryLimit: 1GiB}", "Deployment tidelay-controller", `{op: replace, path: C/env/2/value, value: 1GiB}`},
	{"controller: {missedCheck: 5m}", "Deployment tidelay-controller", `{op: replace, path: C/args/missed-check, value: 5m}`},
	{"controller: {askAgents: false}", "Deployment tidelay-controller", `{op: replace, path: C/args/ask-agents, value: "false"}`},
	{"log: {level: debug}", "Deployment", `{op: replace, path: C/args/log-level, value: debug}`},
	{"log: {format: json}", "Deployment", `{op: replace, path: C/args/log-format, value: json}`},
	{"config: {agent: {imagePullPolicy: Never}}", "ConfigMap", `{op: replace, path: A/imagePullPolicy, value: Never}`},
	{"config: {agent: {imagePullSecrets: [one]}}", "ConfigMap", `{op: replace, path: A/imagePullSecrets, value: [one]}`},
	{"config: {agent: {resources: {requests: {cpu: 20m, memory: 64Mi}}}}", "ConfigMap", `{op: replace, path: A/resources/requests, value: {cpu: 20m, memory: 64Mi}}`},
	{"config: {agent: {resources: {limits: {cpu: 1, memory: 1Gi}}}}", "ConfigMap", `{op: replace, path: A/resources/limits, value: {cpu: 1, memory: 1Gi}}`},
	{"config: {agent: {maxDuration: 1h30m}}", "ConfigMap", `{op: add, path: A/maxDuration, value: 1h30m}`},
}

// TestChartValues: each value changes what it says and nothing else.
func TestChartValues(t *testing.T) {
	base := shippedObjects(t)
	for _, c := range chartCases {
		t.Run(c.values, func(t *testing.T) {
			want := base.clone(t)
			want.patch(t, c.object, c.patch)
			compare(t, want, chart(t, "tidelay-system", c.values))
		})
	}
	t.Run("the agent's image, which the injector's pod runs first", func(t *testing.T) {
		want := base.clone(t)
		want.patch(t, "Deployment", `{op: replace, path: C/env/0/value, value: registry.example.com/a:v1}`)
		want.patch(t, "Deployment tidelay-injector", `{op: replace, path: P/initContainers/0/image, value: registry.example.com/a:v1}`)
		compare(t, want, chart(t, "tidelay-system", "images: {agent: registry.example.com/a:v1}"))
	})
	t.Run("pull policy", func(t *testing.T) {
		want := base.clone(t)
		want.patch(t, "Deployment", `{op: replace, path: C/imagePullPolicy, value: Always}`)
		want.patch(t, "Deployment tidelay-injector", `{op: replace, path: P/initContainers/0/imagePullPolicy, value: Always}`)
		compare(t, want, chart(t, "tidelay-system", "imagePullPolicy: Always"))
	})
	t.Run("priority class of somebody else", func(t *testing.T) {
		want := base.clone(t)
		want.patch(t, "PriorityClass", "")
		want.patch(t, "Deployment", `{op: replace, path: P/priorityClassName, value: theirs}`)
		compare(t, want, chart(t, "tidelay-system", "priorityClass: {create: false, name: theirs}"))
	})
	t.Run("a token, which the controller may read", func(t *testing.T) {
		want := base.clone(t)
		want.patch(t, "ConfigMap", `{op: add, path: A/tokenSecret, value: token}`)
		want.patch(t, "ClusterRole tidelay-controller", `
			{op: add, path: /rules/8, value: {apiGroups: [""], resources: [secrets], resourceNames: [token], verbs: [get]}}`)
		compare(t, want, chart(t, "tidelay-system", "config: {agent: {tokenSecret: token}}"))
	})
	t.Run("no check for missed pods", func(t *testing.T) {
		want := base.clone(t)
		want.patch(t, "Deployment tidelay-controller", `{op: replace, path: C/args/missed-check, value: 0s}`)
		want.patch(t, "ValidatingAdmissionPolicy", "")
		want.patch(t, "ValidatingAdmissionPolicyBinding", "")
		want.patch(t, "ClusterRole tidelay-controller", `{op: remove, path: /rules/10}, {op: remove, path: /rules/9}`)
		want.patch(t, "Role tidelay-controller", `{op: remove, path: /rules/2}`)
		compare(t, want, chart(t, "tidelay-system", "controller: {missedCheck: 0s}"))
	})
}

// TestEveryChartValueIsTried looks for values that the other tests leave out.
func TestEveryChartValueIsTried(t *testing.T) {
	tried := map[string]bool{"monitoring": true, "monitoring.podMonitors": true, "monitoring.rules": true, "monitoring.dashboard": true, "priorityClass.name": true, "controller.enabled": true, "config.agent.tokenSecret": true, "images.agent": true, "imagePullPolicy": true}
	for _, c := range chartCases {
		addLeaves(t, tried, c.values)
	}
	has := map[string]bool{}
	content, err := os.ReadFile("chart/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	addLeaves(t, has, string(content))
	for leaf := range has {
		if !tried[leaf] {
			t.Errorf("no case sets %s", leaf)
		}
	}
}

// addLeaves adds the paths of what a YAML document sets.
func addLeaves(t *testing.T, leaves map[string]bool, text string) {
	t.Helper()
	var document map[string]any
	if err := yaml.UnmarshalStrict([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	var walk func(path string, value any)
	walk = func(path string, value any) {
		inner, ok := value.(map[string]any)
		if !ok || len(inner) == 0 {
			leaves[path] = true
			return
		}
		for key, v := range inner {
			walk(strings.TrimPrefix(path+"."+key, "."), v)
		}
		leaves[path] = true
	}
	walk("", document)
}

// TestChartRefuses: the schema names the value that makes no sense.
func TestChartRefuses(t *testing.T) {
	for values, names := range map[string]string{
		"replica: 2":                                 "'replica'",
		"replicas: two":                              "/replicas",
		"images: {inject: a}":                        "'inject'",
		"images: {agent: ''}":                        "/images/agent",
		"imagePullPolicy: Sometimes":                 "/imagePullPolicy",
		"imagePullSecrets: [{name: a}]":              "/imagePullSecrets/0",
		"resources: {limit: {}}":                     "'limit'",
		"resources: {limits: {cpu: [1]}}":            "/resources/limits/cpu",
		"nodeSelector: {a: 1}":                       "/nodeSelector/a",
		"tolerations: {}":                            "/tolerations",
		"affinity: []":                               "/affinity",
		"topologySpreadConstraints: [{}]":            "/topologySpreadConstraints/0",
		"priorityClass: {value: 2000000000}":         "/priorityClass/value",
		"priorityClass: {name: A}":                   "/priorityClass/name",
		"priorityClass: {name: ''}":                  "priorityClass.name",
		"podDisruptionBudget: {min: 1}":              "'min'",
		"networkPolicy: {enabled: 'no'}":             "/networkPolicy/enabled",
		"networkPolicy: {egress: []}":                "'egress'",
		"hostNetwork: 'yes'":                         "/hostNetwork",
		"ports: {webhook: 65536}":                    "/ports/webhook",
		"ports: {api: 1}":                            "'api'",
		"webhook: {timeoutSeconds: 31}":              "/webhook/timeoutSeconds",
		"webhook: {caBundle: x}":                     "'caBundle'",
		"webhook: {failurePolicy: Fail}":             "'failurePolicy'",
		"webhook: {excludedNamespaces: [A_b]}":       "/webhook/excludedNamespaces/0",
		"drainSeconds: 61":                           "/drainSeconds",
		"missedCheck: 30s":                           "'missedCheck'",
		"controller: {missedCheck: 30}":              "/controller/missedCheck",
		"controller: {missedCheck: 500ms}":           "/controller/missedCheck",
		"controller: {missedCheck: 2h}":              "/controller/missedCheck",
		"controller: {askAgents: 'no'}":              "/controller/askAgents",
		"controller: {enabled: 'no'}":                "/controller/enabled",
		"controller: {replicas: -1}":                 "/controller/replicas",
		"controller: {goMemoryLimit: 1Gi}":           "/controller/goMemoryLimit",
		"controller: {resources: {limit: {}}}":       "'limit'",
		"controller: {image: a}":                     "'image'",
		"log: {level: warn}":                         "/log/level",
		"log: {file: x}":                             "'file'",
		"monitoring: {rules: 1}":                     "/monitoring/rules",
		"monitoring: {alerts: true}":                 "'alerts'",
		"config: {agents: {}}":                       "'agents'",
		"config: {agent: {image: a:v2}}":             "'image'",
		"config: {agent: {maxDuration: 1d}}":         "/config/agent/maxDuration",
		"config: {agent: {maxDuration: 60}}":         "/config/agent/maxDuration",
		"config: {agent: {tokenSecret: A}}":          "/config/agent/tokenSecret",
		"config: {agent: {pullPolicy: Always}}":      "'pullPolicy'",
		"config: {agent: {resources: {claims: []}}}": "'claims'",
	} {
		_, err := renderChart("tidelay-system", values)
		if err == nil {
			t.Errorf("%s is accepted", values)
		} else if !strings.Contains(err.Error(), names) {
			t.Errorf("%s: the error does not say %s:\n%v", values, names, err)
		}
	}
}

// patch changes the objects of a kind, or the one of a kind and name. In the paths C
// is the container, P the pod and A the agent's configuration. Without operations
// the objects are removed.
func (o objects) patch(t *testing.T, which, operations string) {
	t.Helper()
	changed := 0
	for key := range o {
		if key == which || strings.HasPrefix(key, which+" ") {
			changed++
			if operations == "" {
				delete(o, key)
			} else {
				o[key] = patched(t, o[key], operations)
			}
		}
	}
	if changed == 0 {
		t.Fatalf("there is no %s", which)
	}
}

func patched(t *testing.T, object any, operations string) any {
	t.Helper()
	operations = strings.NewReplacer("\t", "", "path: C", "path: "+container, "path: P", "path: /spec/template/spec", "path: A", "path: /data/config.yaml/agent").Replace(operations)
	text, err := yaml.YAMLToJSON([]byte("[" + operations + "]"))
	if err != nil {
		t.Fatal(err)
	}
	patch, err := jsonpatch.DecodePatch(text)
	if err != nil {
		t.Fatal(err)
	}
	before, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	after, err := patch.Apply(before)
	if err != nil {
		t.Fatal(err)
	}
	var result map[string]any
	if err := json.Unmarshal(after, &result); err != nil {
		t.Fatal(err)
	}
	return result
}
