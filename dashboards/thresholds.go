package dashboards

import (
	"fmt"
	"regexp"
	"strconv"
)

// Thresholds reads those of the alert rules from the text of thresholds.rules.yml, by the
// name after "peerobserver:threshold_".
func Thresholds(rules string) (map[string]float64, error) {
	record := regexp.MustCompile(`record: peerobserver:threshold_(\w+)\s+expr: vector\(([^)]+)\)`)
	found := map[string]float64{}
	for _, match := range record.FindAllStringSubmatch(rules, -1) {
		value, err := strconv.ParseFloat(match[2], 64)
		if err != nil {
			return nil, fmt.Errorf("threshold %s: %w", match[1], err)
		}
		found[match[1]] = value
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no threshold in the rules: they are records peerobserver:threshold_… with an expr vector(…)")
	}
	return found, nil
}
