package injection

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// TestAttachment compares an attached agent's container with testdata. The API server
// refuses ports, resources, probes and new volumes in an ephemeral container, and TiDB
// Operator would drop fields that its API (v0.28) does not know.
func TestAttachment(t *testing.T) {
	pod := decode(t, readFile(t, "testdata/tidb/in.yaml"))
	config := testConfig
	config.TokenSecret = "token" // has no effect: who attaches refuses it
	content, err := yaml.Marshal(config.Attachment(pod, 90*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	checkGolden(t, "testdata/attached.yaml", string(content))
}

// attach attaches an agent to a pod, with what kubelet says of it; nothing for nil.
func attach(pod *corev1.Pod, longest time.Duration, state *corev1.ContainerState) {
	c := testConfig.Attachment(pod, longest)
	pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, c)
	if state != nil {
		pod.Status.EphemeralContainerStatuses = append(pod.Status.EphemeralContainerStatuses, corev1.ContainerStatus{Name: c.Name, State: *state})
	}
}

func TestAgentOf(t *testing.T) {
	running := &corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	ended := &corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
	waits := &corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}
	for name, test := range map[string]struct {
		states  []*corev1.ContainerState // of the agents that were attached, in order
		want    string
		longest time.Duration
		isDown  bool
		isOver  bool
	}{
		"none":                                 {},
		"one":                                  {[]*corev1.ContainerState{running}, "tidelay-agent", time.Hour, false, false},
		"one that kubelet has not seen yet":    {[]*corev1.ContainerState{nil}, "tidelay-agent", time.Hour, false, false},
		"one that waits for its image":         {[]*corev1.ContainerState{waits}, "tidelay-agent", time.Hour, true, false},
		"a dead one":                           {[]*corev1.ContainerState{ended}, "tidelay-agent", time.Hour, true, true},
		"a dead one and another":               {[]*corev1.ContainerState{ended, running}, "tidelay-agent-2", 2 * time.Hour, false, false},
		"a dead one and one that is coming":    {[]*corev1.ContainerState{ended, nil}, "tidelay-agent-2", 2 * time.Hour, false, false},
		"two dead ones":                        {[]*corev1.ContainerState{ended, ended}, "tidelay-agent-2", 2 * time.Hour, true, true},
		"one whose image came late":            {[]*corev1.ContainerState{running, ended, waits}, "tidelay-agent", time.Hour, false, false},
		"one whose image comes, and dead ones": {[]*corev1.ContainerState{ended, waits, ended}, "tidelay-agent-2", 2 * time.Hour, true, false},
		"two that run":                         {[]*corev1.ContainerState{running, running}, "tidelay-agent-2", 2 * time.Hour, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{}
			pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debugger-1"}}}
			for i, state := range test.states {
				attach(pod, time.Duration(i+1)*time.Hour, state)
			}
			slices.Reverse(pod.Spec.EphemeralContainers) // a patch puts new ones anywhere
			agent, has := AgentOf(pod)
			if has != (test.want != "") || HasAgent(pod) != has || IsInjected(pod) || agent.Container.Name != test.want || agent.Attached != has || agent.IsDown() != test.isDown || agent.HasEnded() != test.isOver {
				t.Errorf("%t, %+v; want %q, down: %t, ended: %t", has, agent, test.want, test.isDown, test.isOver)
			}
			if got := MaxDuration(pod); got != test.longest {
				t.Errorf("longest life %s, want %s", got, test.longest)
			}
			for i := range pod.Spec.EphemeralContainers {
				pod.Spec.EphemeralContainers[i].Args = []string{"--state-dir=", "--max-duration=2ms"}
			}
			if got := MaxDuration(pod); got != 0 {
				t.Errorf("longest life %s that no agent takes, want none", got)
			}
			if TokenSecretOf(pod) != "" {
				t.Error("it asks for a token")
			}
		})
	}
}

// Somebody else's ephemeral container is no agent, and its name is not taken.
func TestForeignEphemeralContainers(t *testing.T) {
	for _, name := range []string{"tidelay-agent", "tidelay-agent-2", "tidelay-agent-debug", "tidelay-agent-02"} {
		pod := &corev1.Pod{}
		pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: name, Args: []string{"sh"}}}}
		if _, has := AgentOf(pod); has || HasAgent(pod) {
			t.Errorf("%s is taken for an agent", name)
		}
		if got := testConfig.Attachment(pod, time.Hour).Name; got == name {
			t.Errorf("the name %s is used twice", got)
		}
	}
}

// An injected agent is the pod's, whatever was attached. What was attached changes no
// decision of the injector.
func TestInjectedBeforeAttached(t *testing.T) {
	pod := decode(t, readFile(t, "testdata/tidb/out.yaml"))
	attach(pod, time.Minute, &corev1.ContainerState{Running: &corev1.ContainerStateRunning{}})
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: ContainerName, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}}}
	if agent, has := AgentOf(pod); !has || agent.Attached || !agent.IsDown() || agent.HasEnded() || !IsInjected(pod) {
		t.Errorf("the agent is %+v", agent)
	}
	pod = decode(t, readFile(t, "testdata/tidb/in.yaml"))
	before := testConfig.Decide(pod, member(pod), Facts{})
	attach(pod, time.Minute, nil)
	if after := testConfig.Decide(pod, member(pod), Facts{}); after.Reason != before.Reason || len(after.Patch) != len(before.Patch) {
		t.Errorf("%s with %d operations, before %s with %d", after.Reason, len(after.Patch), before.Reason, len(before.Patch))
	}
}
