#include "adapter_fixture.h"

int main(int argc, char **argv)
{
    return adapter_fixture_main("anthropic", PST_FIXTURES "/anthropic", argc, argv);
}
