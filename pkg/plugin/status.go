package plugin

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/tidelay/tidelay/pkg/plugin/report"
)

// newStatus returns the verb status.
func (a *app) newStatus() *cobra.Command {
	return a.newReport("status CLUSTER [flags]", "Show a TidbCluster, its agents, faults and topologies",
		`FAULTS are those that a pod's agent is to hold. VERIFIED counts the pods at which the agents
measured what was asked for. What you may not read is said.`, func(r *report.Report) error {
			return r.Write(a.Out, a.Now(), a)
		})
}

// newRoles returns the verb roles.
func (a *app) newRoles() *cobra.Command {
	return a.newReport("roles CLUSTER [flags]", "Show which pods lead, own and are busiest now",
		`These are the roles that selectors such as pd(leader) and tikv(busiest) mean, as TiDB Operator
last saw them.`, func(r *report.Report) error { return r.WriteRoles(a.Out) })
}

// newReport returns a verb that shows a report, in words by write.
func (a *app) newReport(use, short, long string, write func(*report.Report) error) *cobra.Command {
	var output string
	cmd := verb(use, short, long, exactly(1, "CLUSTER"))
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
		r := report.Of(seen, a.Now())
		if output == "table" {
			return write(&r)
		}
		return a.encode(r, output)
	}
	a.completeReport(cmd)
	return cmd
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
