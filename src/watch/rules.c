#include "watch/rules.h"

#include <string.h>

/* Whether unit is one component of path. */
static bool
has_component(const char *path, const char *unit)
{
	size_t len = strlen(unit);

	while (*path != '\0') {
		size_t n = strcspn(path, "/");

		if (n == len && memcmp(path, unit, n) == 0)
			return true;
		path += n;
		path += *path == '/';
	}
	return false;
}

static bool
matches(const struct rule *rule, const struct rule_facts *facts)
{
	if ((rule->lane != NULL) != (facts->lane != NULL) ||
	    (rule->lane != NULL && strcmp(rule->lane, facts->lane) != 0))
		return false;
	if (rule->comm != NULL && strcmp(rule->comm, facts->comm) != 0)
		return false;
	if (rule->exe != NULL && strcmp(rule->exe, facts->exe) != 0)
		return false;
	if (rule->unit != NULL && !has_component(facts->cgroup, rule->unit))
		return false;
	return !rule->has_uid || rule->uid == facts->uid;
}

const struct rule *
rules_match(const struct rules *rules, const struct rule_facts *facts)
{
	for (size_t i = 0; i < rules->n; i++)
		if (matches(&rules->list[i], facts))
			return &rules->list[i];
	return NULL;
}

uint16_t
rules_number_of(const struct rules *rules, const struct rule *rule)
{
	return rule != NULL ? (uint16_t)(rule - rules->list + 1) : 0;
}

const struct rule *
rules_at(const struct rules *rules, uint16_t number)
{
	return number > 0 ? &rules->list[number - 1] : NULL;
}

uint16_t
rules_number(const struct rules *rules, const char *name, bool is_for_lanes)
{
	for (size_t i = 0; i < rules->n; i++)
		if ((rules->list[i].lane != NULL) == is_for_lanes &&
		    rules->list[i].name != NULL &&
		    strcmp(rules->list[i].name, name) == 0)
			return rules_number_of(rules, &rules->list[i]);
	return 0;
}
