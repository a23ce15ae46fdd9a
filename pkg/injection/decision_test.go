package injection

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

var testConfig = Config{Image: "tidelay/agent:test", PullPolicy: corev1.PullIfNotPresent, Resources: DefaultResources(), Version: "v0.0.0-test"}

// memberOf returns the membership of a TiKV pod whose TidbCluster has the given
// annotations, key and value in turn.
func memberOf(annotations ...string) tidbcluster.Membership {
	m := map[string]string{}
	for pair := range slices.Chunk(annotations, 2) {
		m[pair[0]] = pair[1]
	}
	return tidbcluster.Membership{
		Cluster:   types.NamespacedName{Namespace: "db", Name: "basic"},
		UID:       "0c1",
		Component: tidbcluster.TiKV,
		OptIn:     tidbcluster.ParseOptIn(m),
	}
}

func optedIn() tidbcluster.Membership { return memberOf("tidelay.io/inject", "true") }

// tikv returns a plain TiKV pod, changed.
func tikv(change func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{}
	pod.Name, pod.Namespace = "basic-tikv-0", "db"
	pod.Spec.Containers = []corev1.Container{{
		Name:  "tikv",
		Image: "pingcap/tikv",
		Ports: []corev1.ContainerPort{{Name: "server", ContainerPort: 20160, Protocol: corev1.ProtocolTCP}},
	}}
	if change != nil {
		change(pod)
	}
	return pod
}

func annotated(key, value string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Annotations = map[string]string{key: value} }
}

type decisionTest struct {
	pod      *corev1.Pod
	member   tidbcluster.Membership
	level    string
	image    string // what is known against the image
	want     Reason
	problems int
}

func decisionTests() map[string]decisionTest {
	deleting := optedIn()
	deleting.Deleting = true
	tcpProbe := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(2332)}}}
	return map[string]decisionTest{
		"if the TidbCluster opts in, inject": {pod: tikv(nil), member: optedIn(), want: Injected},
		"if the component is named, inject":  {pod: tikv(nil), member: memberOf("tidelay.io/inject", "true", "tidelay.io/components", "pd,tikv"), want: Injected},
		"if another name is unknown, inject and say so": {
			pod: tikv(nil), member: memberOf("tidelay.io/inject", "true", "tidelay.io/components", "tikv,nope"), want: Injected, problems: 1,
		},
		"if the namespace enforces privileged, inject": {pod: tikv(nil), member: optedIn(), level: "privileged", want: Injected},
		"if the pod asks for it too, inject":           {pod: tikv(annotated("tidelay.io/inject", "true")), member: optedIn(), want: Injected},
		"if our annotation is there without the container, inject": {
			pod: tikv(annotated(StatusAnnotation, "{}")), member: optedIn(), want: Injected,
		},
		"if the port is used for UDP, inject": {
			pod: tikv(func(p *corev1.Pod) {
				p.Spec.Containers[0].Ports[0] = corev1.ContainerPort{ContainerPort: 2332, Protocol: corev1.ProtocolUDP}
			}),
			member: optedIn(), want: Injected,
		},

		"if the TidbCluster is being deleted, skip":    {pod: tikv(nil), member: deleting, want: ClusterDeleting},
		"if the TidbCluster says nothing, skip":        {pod: tikv(nil), member: memberOf(), want: NotOptedIn},
		"if the TidbCluster says no, skip":             {pod: tikv(nil), member: memberOf("tidelay.io/inject", "false"), want: NotOptedIn},
		"if the TidbCluster says yes, skip and say so": {pod: tikv(nil), member: memberOf("tidelay.io/inject", "yes"), want: NotOptedIn, problems: 1},
		"if only the pod asks for it, skip":            {pod: tikv(annotated("tidelay.io/inject", "true")), member: memberOf(), want: NotOptedIn},
		"if the component is not named, skip": {
			pod: tikv(nil), member: memberOf("tidelay.io/inject", "true", "tidelay.io/components", "pd"), want: ComponentExcluded,
		},
		"if the component is misspelt, skip and say so": {
			pod: tikv(nil), member: memberOf("tidelay.io/inject", "true", "tidelay.io/components", "TiKV"), want: ComponentExcluded, problems: 1,
		},
		"if the pod says no, skip": {pod: tikv(annotated("tidelay.io/inject", "false")), member: optedIn(), want: OptedOut},
		"if the pod says anything but yes, skip and say so": {
			pod: tikv(annotated("tidelay.io/inject", "off")), member: optedIn(), want: OptedOut, problems: 1,
		},
		"if the agent is there, skip": {
			pod:    tikv(func(p *corev1.Pod) { p.Spec.Containers = append(p.Spec.Containers, ourAgent()) }),
			member: optedIn(), want: AlreadyInjected,
		},
		"if the agent is there as a native sidecar, skip": {
			pod: tikv(func(p *corev1.Pod) {
				agent := ourAgent()
				agent.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
				p.Spec.InitContainers = []corev1.Container{agent}
			}),
			member: optedIn(), want: AlreadyInjected,
		},
		"if the agent was removed, skip": {
			pod: tikv(func(p *corev1.Pod) {
				annotated(StatusAnnotation, "{}")(p)
				p.Spec.Volumes = []corev1.Volume{{Name: "tidelay-state"}}
			}),
			member: optedIn(), want: AgentRemoved,
		},
		"if the pod is for Windows, skip":           {pod: tikv(func(p *corev1.Pod) { p.Spec.OS = &corev1.PodOS{Name: corev1.Windows} }), member: optedIn(), want: Windows},
		"if the pod is on the node's network, skip": {pod: tikv(func(p *corev1.Pod) { p.Spec.HostNetwork = true }), member: optedIn(), want: HostNetwork},
		"if the pod was moved to the node's network after the agent was added, take it out": {
			pod: tikv(func(p *corev1.Pod) {
				p.Spec.HostNetwork = true
				p.Spec.Containers = append([]corev1.Container{ourAgent()}, p.Spec.Containers...)
			}),
			member: optedIn(), want: HostNetwork,
		},
		"if a container has the agent's name, skip": {
			pod: tikv(func(p *corev1.Pod) {
				annotated(StatusAnnotation, "{}")(p)
				p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "tidelay-agent"})
			}),
			member: optedIn(), want: NameConflict,
		},
		"if an init container has the agent's name, skip": {
			pod: tikv(func(p *corev1.Pod) {
				annotated(StatusAnnotation, "{}")(p)
				p.Spec.InitContainers = []corev1.Container{ourAgent()} // which ends before the others start
			}),
			member: optedIn(), want: NameConflict,
		},
		"if a volume has a name the agent needs, skip": {
			pod: tikv(func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{{Name: "tidelay-state"}} }), member: optedIn(), want: NameConflict,
		},
		"if a container uses the port, skip": {
			pod: tikv(func(p *corev1.Pod) { p.Spec.Containers[0].Ports[0].ContainerPort = 2332 }), member: optedIn(), want: PortConflict,
		},
		"if a container uses the port without naming TCP, skip": {
			pod:    tikv(func(p *corev1.Pod) { p.Spec.Containers[0].Ports[0] = corev1.ContainerPort{ContainerPort: 2332} }),
			member: optedIn(), want: PortConflict,
		},
		"if a container uses the port on the node, skip": {
			pod: tikv(func(p *corev1.Pod) { p.Spec.Containers[0].Ports[0].HostPort = 2332 }), member: optedIn(), want: PortConflict,
		},
		"if an init container uses the port, skip": {
			pod: tikv(func(p *corev1.Pod) {
				p.Spec.InitContainers = []corev1.Container{{Name: "wait", Ports: []corev1.ContainerPort{{ContainerPort: 2332}}}}
			}),
			member: optedIn(), want: PortConflict,
		},
		"if a container is probed on the port, skip": {
			pod: tikv(func(p *corev1.Pod) { p.Spec.Containers[0].LivenessProbe = tcpProbe }), member: optedIn(), want: PortConflict,
		},
		"if the pod has no containers, leave it to the API server": {
			pod: tikv(func(p *corev1.Pod) { p.Spec.Containers = nil }), member: optedIn(), want: InternalError,
		},
		"if the namespace enforces baseline, skip":         {pod: tikv(nil), member: optedIn(), level: "baseline", want: PodSecurity},
		"if the namespace enforces restricted, skip":       {pod: tikv(nil), member: optedIn(), level: "restricted", want: PodSecurity},
		"if the namespace enforces an unknown level, skip": {pod: tikv(nil), member: optedIn(), level: "Privileged", want: PodSecurity},
		"if the image can't be pulled, skip":               {pod: tikv(nil), member: optedIn(), image: "it can't be pulled", want: ImageUnavailable},
		"if it can't be pulled, what lasts longer is told": {pod: tikv(nil), member: optedIn(), image: "it can't be pulled", level: "baseline", want: PodSecurity},
	}
}

func TestDecide(t *testing.T) {
	for name, test := range decisionTests() {
		t.Run(name, func(t *testing.T) {
			before := test.pod.DeepCopy()
			got := testConfig.Decide(test.pod, test.member, Facts{PodSecurity: test.level, ImageProblem: test.image})
			if got.Reason != test.want {
				t.Errorf("reason %s (%s), want %s", got.Reason, got.Detail, test.want)
			}
			if got.Detail == "" {
				t.Error("no detail")
			}
			if (len(got.Patch) > 0) != (test.want == Injected || test.want == HostNetwork && HasAgent(test.pod)) {
				t.Errorf("%d patch operations for %s", len(got.Patch), got.Reason)
			}
			if len(got.Problems) != test.problems {
				t.Errorf("problems %q, want %d", got.Problems, test.problems)
			}
			for _, problem := range got.Problems {
				if !strings.Contains(problem, "tidelay.io/") || !strings.Contains(problem, "accepted: ") {
					t.Errorf("problem %q names no annotation or nothing that is accepted", problem)
				}
			}
			if diff := diffObjects(before, test.pod); diff != "" {
				t.Errorf("Decide changed the pod:\n%s", diff)
			}
		})
	}
}

// TestEveryReasonIsTested compares the tables with the list of reasons.
func TestEveryReasonIsTested(t *testing.T) {
	// Package gather returns these before there is anything to decide, and its
	// tests expect them. TestRefused expects the last one.
	tested := map[Reason]bool{LookupFailed: true, NotMember: true, StaleOwner: true, Refused: true}
	for _, test := range decisionTests() {
		tested[test.want] = true
	}
	for _, r := range Reasons() {
		if !tested[r] {
			t.Errorf("no test expects %s", r)
		}
		delete(tested, r)
	}
	if len(tested) > 0 {
		t.Errorf("tests expect %v, which Reasons does not list", tested)
	}
}

// ourAgent is a container as the injector adds it, as far as it is told by that.
func ourAgent() corev1.Container {
	return corev1.Container{Name: "tidelay-agent", VolumeMounts: []corev1.VolumeMount{{Name: "tidelay-state", MountPath: "/run/tidelay"}}}
}
