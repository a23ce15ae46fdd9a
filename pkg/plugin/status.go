package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/tidelay/tidelay/pkg/plugin/agents"
	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/plugin/report"
)

// statusTime is how long an agent may take to say how it is.
const statusTime = 2 * time.Second

// newStatus returns the verb status.
func (a *app) newStatus() *cobra.Command {
	s := showing{app: a}
	cmd := verb("status [CLUSTER | -A] [flags]", "Show a TidbCluster, its agents, faults and topologies",
		`Without CLUSTER it shows a line for each TidbCluster of the namespace.

Zones are those of the pods' nodes, or of the topology in force, as the head of the column says;
selectors such as tikv@a mean those of nodes. AGENT is the engine of a pod's agent, or why it does
not answer. FAULTS are what it holds: the names of faults and topologies, and of faults that were
set by hand at the agent. What has a question mark it may hold. APPLIED counts the pods that hold
what was asked for, and VERIFIED those at which agents measured it. What you may not see is said.
Agents are asked through the API server, which takes the right to get pods/proxy.

  kubectl tidelay status basic
  kubectl tidelay status basic --watch
  kubectl tidelay status -A`, between(0, 1, "at most one CLUSTER"))
	cmd.Flags().StringVarP(&s.output, "output", "o", "table", "table, wide, yaml or json")
	cmd.Flags().BoolVarP(&s.follows, "watch", "w", false, "go on, and show what changes")
	cmd.Flags().BoolVarP(&s.isAll, "all-namespaces", "A", false, "the TidbClusters of all namespaces")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkOutput(s.output, "table", "wide", "yaml", "json"); err != nil {
			return err
		}
		if s.isAll && len(args) > 0 {
			return usage("%s with --all-namespaces: want one of them", args[0])
		}
		c, namespace, err := a.connect()
		if err != nil {
			return err
		}
		s.connection, s.key.Namespace = c, namespace
		if s.isAll {
			s.key.Namespace = ""
		}
		if len(args) > 0 {
			s.key.Name = args[0]
		}
		if s.follows {
			return s.follow(cmd.Context())
		}
		now, err := s.see(cmd.Context(), nil)
		if err != nil {
			return err
		}
		if err := s.show(now); err != nil {
			return err
		}
		if now.seen != nil && now.seen.IsNothing() {
			return fmt.Errorf("nothing is known of TidbCluster %s: there may be none", s.key)
		}
		return nil
	}
	a.completeReport(cmd, "table", "wide", "yaml", "json")
	return cmd
}

// newRoles returns the verb roles.
func (a *app) newRoles() *cobra.Command {
	var output string
	cmd := verb("roles CLUSTER [flags]", "Show which pods lead, own and are busiest now",
		`These are the roles that selectors such as pd(leader) and tikv(busiest) mean, as TiDB Operator
last saw them.`, exactly(1, "CLUSTER"))
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, yaml or json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkOutput(output, "table", "yaml", "json"); err != nil {
			return err
		}
		c, namespace, err := a.connect()
		if err != nil {
			return err
		}
		seen, err := a.look(cmd.Context(), c, types.NamespacedName{Namespace: namespace, Name: args[0]})
		if err != nil {
			return err
		}
		r := report.Of(report.Input{Cluster: seen, Version: a.Version, Now: a.Now()})
		if output == "table" {
			return r.WriteRoles(a.Out)
		}
		return a.encode(r, output)
	}
	a.completeReport(cmd, "table", "yaml", "json")
	return cmd
}

// showing is the verb status with its flags.
type showing struct {
	*app
	connection     *Connection
	output         string
	follows, isAll bool
	// key is the TidbCluster; without a name it is those of the namespace, or of all.
	key types.NamespacedName
}

// picture is what is shown: a report or a list, and what it was made of.
type picture struct {
	seen   *look.Cluster // nil for a list
	report report.Report
	list   report.List
}

// essence is the same as long as nothing changes but what passes with time.
func (p *picture) essence() (string, error) {
	if p.seen == nil {
		return p.list.Essence()
	}
	return p.report.Essence()
}

// isTable is whether it is shown for people.
func (s *showing) isTable() bool { return s.output == "table" || s.output == "wide" }

// see reads all that is shown; of what was read before, only the agents are asked again.
func (s *showing) see(ctx context.Context, before *picture) (*picture, error) {
	if s.key.Name == "" {
		all, err := look.List(ctx, s.connection, s.key.Namespace)
		if err != nil {
			return nil, err
		}
		return &picture{list: report.ListOf(all)}, nil
	}
	var seen *look.Cluster
	if before != nil {
		seen = before.seen
	} else {
		var err error
		if seen, err = s.look(ctx, s.connection, s.key); err != nil {
			return nil, err
		}
	}
	in := report.Input{Cluster: seen, Replies: agents.Statuses(ctx, s.connection.asker(statusTime), seen.Answering()), Version: s.Version, Now: s.Now()}
	return &picture{seen: seen, report: report.Of(in)}, nil
}

// show writes a picture.
func (s *showing) show(p *picture) error {
	switch {
	case s.isTable() && p.seen == nil:
		return p.list.Write(s.Out, s.key.Namespace, s)
	case s.isTable():
		return p.report.Write(s.Out, s.Now(), s.output == "wide", s)
	case p.seen == nil:
		return s.encode(p.list, s.output)
	default:
		return s.encode(p.report, s.output)
	}
}

// encode prints data as yaml or json.
func (a *app) encode(data any, output string) error {
	content, err := json.MarshalIndent(data, "", "    ")
	if err == nil && output == "yaml" {
		content, err = yaml.JSONToYAML(content)
	}
	if err != nil {
		return fmt.Errorf("encode as %s: %w", output, err)
	}
	if output == "json" {
		content = append(content, '\n')
	}
	if _, err := a.Out.Write(content); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
